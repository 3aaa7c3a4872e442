"""A crew's definition: read from YAML or JSON, checked whole, written for the wire."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crewmesh.common.documents import read_yaml, write_yaml
from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh_worker.crews.checks import cross_faults
from crewmesh_worker.crews.hints import PYTHON_REFERENCE, hint
from crewmesh_worker.crews.inputs import closed_schema
from crewmesh_worker.crews.model import CrewDefinition

__all__ = [
    "CrewDefinition",
    "from_json",
    "invalid_crew",
    "load_definitions",
    "parse_definition",
    "to_json",
    "to_yaml",
]

# What a text that doesn't match is told.
_PATTERNS = {
    r"^[a-z][a-z0-9_-]{0,62}$": "lower-case letters, digits, - and _, at most 63, a letter first",
    r"^\w[\w -]{0,99}$": "letters, digits, spaces, - and _, at most 100, no space or - first",
}
# Other faults, by their kind, where the library's own words say less.
_MESSAGES = {
    "missing": "it is needed, and not there",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


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
        raise invalid_crew(faults)
    return definition.model_copy(update={"inputs": closed_schema(definition.inputs)})


def invalid_crew(faults: Sequence[Violation]) -> InvalidInputError:
    """Return the error for a definition with these faults, each told once."""
    faults = list(dict.fromkeys(faults))
    return InvalidInputError(
        f"the crew's definition has {len(faults)} fault(s), each listed with its place",
        reason="INVALID_CREW",
        violations=faults,
    )


def load_definitions(directory: Path) -> dict[str, CrewDefinition]:
    """Return the crews of a directory's `*.yaml` files by name.

    A file is named like its crew. Raises InvalidInputError naming the file at fault.
    """
    definitions = {}
    for path in sorted(directory.glob("*.yaml")):
        try:
            definition = parse_definition(read_yaml(path.read_bytes()))
        except InvalidInputError as error:
            faults = "; ".join(f"{fault.field}: {fault.message}" for fault in error.violations)
            raise InvalidInputError(
                f"{path.name}: {faults}", reason=error.reason, violations=error.violations
            ) from error
        if definition.name != path.stem:
            raise InvalidInputError(
                f"{path.name}: the crew is named {definition.name!r}: name both alike"
            )
        if definition.version is None:
            raise InvalidInputError(f"{path.name}: give the crew a version, such as 1.0.0")
        definitions[definition.name] = definition
    return definitions


def to_json(definition: CrewDefinition) -> str:
    """Return the definition as it travels to runners and into the store."""
    return definition.model_dump_json(exclude_defaults=True)


def to_yaml(definition: CrewDefinition) -> str:
    """Return the definition as YAML in one fixed form, which can be put again."""
    return write_yaml(json.loads(to_json(definition)))


def from_json(text: str) -> CrewDefinition:
    """Return what `to_json` wrote; raise InvalidInputError for anything else."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"the crew's definition is not JSON: {error}") from error
    return parse_definition(data)


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
        return f"no such key: {hint(str(fault['loc'][-1]))}"
    if fault["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(fault["ctx"]["pattern"], str(fault["msg"]))
    if isinstance(fault["input"], dict) and set(fault["input"]) == {"python"}:
        return PYTHON_REFERENCE
    return _MESSAGES.get(fault["type"], str(fault["msg"]))
