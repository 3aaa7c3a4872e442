"""From a text that somebody brought to a definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crewmesh.common.documents import read_json, read_yaml
from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.v1 import agent_pb2
from crewmesh_worker.crews.definition import CrewDefinition, invalid_crew, parse_definition
from crewmesh_worker.crews.formats.crewai import Converted, convert
from crewmesh_worker.crews.formats.schemas import derived_schema, resolve_outputs

_WHOLE = "(the whole)"


def read_definition(
    content: bytes, format_: agent_pb2.CrewFormat.ValueType, name: str
) -> CrewDefinition:
    """Return the crew that a text describes, under the name by which it is put.

    Raises InvalidInputError with every fault and its place in the text.
    """
    value = read_json(content) if format_ == agent_pb2.CREW_FORMAT_JSON else read_yaml(content)
    return definition_of(value, name)


def definition_of(value: object, name: str) -> CrewDefinition:
    """Return the crew that plain data in one of the shapes describes."""
    if not isinstance(value, Mapping):
        raise invalid_crew([Violation(_WHOLE, "a crew is an object with agents and tasks")])
    if "crew" in value:
        return _read_own(value, name)
    if "agents" in value or "tasks" in value:
        return _read_converted(convert(value, name))
    raise invalid_crew(
        [
            Violation(
                _WHOLE,
                "no crew: it has neither `crew` (our shape) nor `agents` and `tasks` (CrewAI's); "
                "see docs/reference/crew-definition.md",
            )
        ]
    )


def _read_own(value: Mapping[str, Any], name: str) -> CrewDefinition:
    data = {**value, "name": name}
    faults = []
    if value.get("name", name) != name:
        faults.append(
            Violation("name", f"it is put as {name!r}: name both alike, or leave this out")
        )
    body = data["crew"]
    if isinstance(body, Mapping):
        data["crew"], output_faults = resolve_outputs(body)
        faults += output_faults
        if "inputs" not in data:
            data["inputs"] = derived_schema({}, data["crew"])
    return _parse(data, faults, lambda fault: fault)


def _read_converted(converted: Converted) -> CrewDefinition:
    body, output_faults = resolve_outputs(converted.data["crew"])
    faults = [*converted.faults, *map(converted.original, output_faults)]
    return _parse({**converted.data, "crew": body}, faults, converted.original)


def _parse(
    data: Mapping[str, Any],
    faults: list[Violation],
    original: Callable[[Violation], Violation],
) -> CrewDefinition:
    """Return the definition; raise with these faults, and with those of `data` where they were."""
    try:
        definition = parse_definition(data)
    except InvalidInputError as error:
        raise invalid_crew([*faults, *map(original, error.violations)]) from None
    if faults:
        raise invalid_crew(faults)
    return definition
