"""The inputs of a crew: which schemas are allowed, and whether a run's inputs fit.

A schema is JSON Schema 2020-12, without what reaches elsewhere (`$ref`) or lets its
author decide how long a check takes (`pattern`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh_worker.crews.model import CrewDefinition
from crewmesh_worker.projects.project import Project

_KEYWORDS = frozenset(
    (
        *("type", "title", "description", "default", "examples", "enum", "const", "format"),
        *("properties", "required", "additionalProperties", "items"),
        *("minItems", "maxItems", "uniqueItems", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)


def schema_faults(schema: Mapping[str, Any], place: str) -> list[Violation]:
    """Return what is wrong with the schema of a crew's inputs."""
    if faults := list(_keyword_faults(schema, place)):
        return faults
    faults = [
        Violation(_place(place, error), error.message)
        for error in _validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)
    ]
    return faults or list(_object_faults(schema, place))


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema so that it refuses inputs that it doesn't name."""
    return {"type": "object", "properties": {}, "additionalProperties": False, **schema}


def validate_inputs(
    definition: CrewDefinition | Project, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the inputs with every default filled in.

    Raises InvalidInputError with every fault and its place, such as `inputs.question`.
    """
    properties = definition.inputs["properties"]
    complete = {
        **{n: copy.deepcopy(p["default"]) for n, p in properties.items() if "default" in p},
        **inputs,
    }
    errors = _validator(definition.inputs).iter_errors(complete)
    faults = dict.fromkeys(fault for error in errors for fault in _input_faults(error))
    if faults:
        raise InvalidInputError(
            f"the inputs don't fit the crew {definition.name!r}", violations=faults
        )
    return complete


def dataset_inputs(definition: CrewDefinition | Project) -> list[str]:
    """Return the names of the inputs that are datasets."""
    return list(definition.dataset_inputs)


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def _input_faults(error: ValidationError) -> Iterator[Violation]:
    place = _place("inputs", error)
    schema: Any = error.schema
    given: Any = error.instance
    if error.validator == "required":
        for name in schema["required"]:
            if name not in given:
                yield Violation(f"{place}.{name}", "required, and missing")
    elif error.validator == "additionalProperties" and error.validator_value is False:
        known = schema.get("properties", {})
        for name in given:
            if name not in known:
                names = ", ".join(known) or "none"
                yield Violation(f"{place}.{name}", f"no such input; there are: {names}")
    else:
        yield Violation(place, error.message)


def _keyword_faults(schema: object, place: str) -> Iterator[Violation]:
    if not isinstance(schema, Mapping):
        yield Violation(place, "a schema is an object")
        return
    for keyword, value in schema.items():
        if keyword not in _KEYWORDS:
            allowed = ", ".join(sorted(_KEYWORDS))
            yield Violation(f"{place}.{keyword}", f"not allowed here; allowed are: {allowed}")
        elif keyword == "properties" and isinstance(value, Mapping):
            for name, prop in value.items():
                yield from _keyword_faults(prop, f"{place}.properties.{name}")
        elif keyword == "items" or (keyword == "additionalProperties" and value is not False):
            yield from _keyword_faults(value, f"{place}.{keyword}")


def _object_faults(schema: Mapping[str, Any], place: str) -> Iterator[Violation]:
    if schema.get("type", "object") != "object":
        yield Violation(f"{place}.type", "a run's inputs are an object")
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in properties:
            yield Violation(f"{place}.required", f"{name!r} is none of the properties")
    for name, prop in properties.items():
        if "default" in prop:
            for error in _validator(prop).iter_errors(prop["default"]):
                yield Violation(f"{place}.properties.{name}.default", error.message)


def _place(root: str, error: ValidationError) -> str:
    return root + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
