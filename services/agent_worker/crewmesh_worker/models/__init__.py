"""Models that agents run on: any of CrewAI's, and `offline`, which needs no network and no key."""

from crewmesh_worker.models.factory import make_llm

__all__ = ["make_llm"]
