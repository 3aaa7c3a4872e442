"""Crews as clients see them."""

from __future__ import annotations

import json

from crewmesh.v1 import agent_pb2, crew_pb2, crew_store_pb2
from crewmesh_worker.crews.definition import CrewDefinition, to_json
from crewmesh_worker.crews.sources import CrewVersion


def crew_message(crew: CrewVersion, *, whole: bool = False) -> crew_pb2.Crew:
    """Return what clients see of the crew; `whole` with its definition."""
    definition = crew.definition
    parts = _parts(definition) if isinstance(definition, CrewDefinition) else definition.to_proto()
    parts.MergeFrom(
        crew_pb2.Crew(
            name=definition.name,
            description=definition.description,
            version=crew.version,
            source=crew.source,
            created_at=crew.created_at,
            current_version=crew.current_version,
        )
    )
    if whole and isinstance(definition, CrewDefinition):
        parts.definition_json = to_json(definition)
    return parts


def _parts(definition: CrewDefinition) -> crew_pb2.Crew:
    agents = definition.crew.agents
    return crew_pb2.Crew(
        inputs_schema_json=json.dumps(definition.inputs),
        agents=[
            crew_pb2.CrewAgent(role=agent.role, goal=agent.goal, tools=agent.tools)
            for agent in agents.values()
        ],
        tasks=[
            crew_pb2.CrewTask(
                name=task.name,
                description=task.description,
                expected_output=task.expected_output,
                agent=agents[task.agent].role if task.agent else "",
            )
            for task in definition.crew.tasks
        ],
    )


def version_message(crew: crew_store_pb2.StoredCrew) -> agent_pb2.CrewVersion:
    """Return what clients see of one of a crew's versions."""
    return agent_pb2.CrewVersion(
        version=crew.version,
        created_at=crew.created_at,
        created_by=crew.created_by,
        created_by_email=crew.created_by_email,
        current=crew.version == crew.current_version,
    )
