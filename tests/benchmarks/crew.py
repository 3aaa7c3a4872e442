"""The crew that every subject runs: one agent, one task, and the offline model.

The model answers without delay, so what is measured is everything around it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crewai import Crew

# What CrewAI would otherwise do at its first use. Crewmesh sets the same for its runners.
QUIET = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}

TOPIC = "gRPC"
# Each word of it is a chunk of the answer.
LONG_TOPIC = " ".join(f"word{n}" for n in range(1000))


def build_crew() -> Crew:
    """Return the crew of crews/hello.yaml, built by hand as a CrewAI user would."""
    os.environ.update(QUIET)
    from crewai import Agent, Crew, Task

    from crewmesh_worker.crews.catalogue import Catalogue
    from crewmesh_worker.models import make_llm

    body = Catalogue.load().get("hello").crew
    (agent_body,) = body.agents.values()
    (task_body,) = body.tasks
    agent = Agent(
        role=agent_body.role,
        goal=agent_body.goal,
        backstory=agent_body.backstory,
        llm=make_llm("offline"),
    )
    task = Task(
        name=task_body.name,
        description=task_body.description,
        expected_output=task_body.expected_output,
        agent=agent,
    )
    return Crew(agents=[agent], tasks=[task], verbose=False)


def count_chunks(crew: Crew, inputs: dict[str, Any]) -> int:
    """Run the crew and return how many chunks its model streamed."""
    from crewai.events.stream_context import add_stream_sink, reset_stream_sinks

    chunks = 0

    def sink(_source: object, event: Any) -> None:
        nonlocal chunks
        chunks += event.type == "llm_stream_chunk"

    token = add_stream_sink(sink)
    try:
        crew.kickoff(inputs=inputs)
    finally:
        reset_stream_sinks(token)
    return chunks
