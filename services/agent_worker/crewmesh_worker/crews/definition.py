"""A crew's definition: read from YAML or JSON, checked whole, written for the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.v1 import crew_pb2
from crewmesh_worker.crews.checks import cross_faults
from crewmesh_worker.crews.inputs import closed_schema
from crewmesh_worker.crews.model import CrewDefinition

__all__ = [
    "CrewDefinition",
    "from_json",
    "load_definitions",
    "parse_definition",
    "to_json",
    "to_proto",
]


def parse_definition(data: object) -> CrewDefinition:
    """Return the definition that plain data describes.

    Raises InvalidInputError with every fault and its place, such as
    `crew.tasks[1].agent`.
    """
    faults = cross_faults(data)
    try:
        definition = CrewDefinition.model_validate(data)
    except ValidationError as error:
        faults = [*_structural_faults(error), *faults]
    if faults:
        raise InvalidInputError(
            f"the crew's definition has {len(faults)} fault(s), each listed with its place",
            reason="INVALID_CREW",
            violations=faults,
        )
    return definition.model_copy(update={"inputs": closed_schema(definition.inputs)})


def load_definitions(directory: Path) -> dict[str, CrewDefinition]:
    """Return the crews of a directory's `*.yaml` files by name.

    A file is named like its crew. Raises InvalidInputError naming the file at fault.
    """
    definitions = {}
    for path in sorted(directory.glob("*.yaml")):
        try:
            definition = parse_definition(yaml.safe_load(path.read_text(encoding="utf-8")))
        except yaml.YAMLError as error:
            raise InvalidInputError(f"{path.name}: not YAML: {error}") from error
        except InvalidInputError as error:
            raise InvalidInputError(
                f"{path.name}: {error.message}", reason=error.reason, violations=error.violations
            ) from error
        if definition.name != path.stem:
            raise InvalidInputError(
                f"{path.name}: the crew is named {definition.name!r}: name both alike"
            )
        definitions[definition.name] = definition
    return definitions


def to_json(definition: CrewDefinition) -> str:
    """Return the definition as it travels to runners and into the store."""
    return definition.model_dump_json(exclude_defaults=True)


def from_json(text: str) -> CrewDefinition:
    """Return what `to_json` wrote; raise InvalidInputError for anything else."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"the crew's definition is not JSON: {error}") from error
    return parse_definition(data)


def to_proto(definition: CrewDefinition) -> crew_pb2.Crew:
    """Return what clients see of the crew."""
    agents = definition.crew.agents
    return crew_pb2.Crew(
        name=definition.name,
        description=definition.description,
        version=definition.version,
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
                agent=agents[task.agent].role,
            )
            for task in definition.crew.tasks
        ],
    )


def _structural_faults(error: ValidationError) -> list[Violation]:
    return [Violation(_place(fault["loc"]), _message(fault)) for fault in error.errors()]


def _place(loc: tuple[int | str, ...]) -> str:
    place = ""
    for part in loc:
        if part == "[key]":
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place or "(the whole)"


def _message(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "no such key: a definition takes only the keys of the reference"
    return str(fault["msg"])
