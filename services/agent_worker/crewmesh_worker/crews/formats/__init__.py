"""The shapes in which crews are brought, and how they become one.

Ours (`crew: {agents, tasks}` with the inputs' schema beside it), CrewAI's own crew
definition (`agents`, a list of `tasks`, default `inputs`), and the classic pair of
`agents.yaml` and `tasks.yaml` as one document.
"""

from crewmesh_worker.crews.formats.reading import read_definition

__all__ = ["read_definition"]
