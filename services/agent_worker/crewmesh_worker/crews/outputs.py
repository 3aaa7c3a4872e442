"""The JSON Schemas of tasks' structured outputs.

CrewAI makes a class of each. So a schema says only what that class can hold, and reaches
nowhere: `$ref` leads into the schema itself and is resolved before it is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crewmesh.common.errors import Violation

_KEYWORDS = frozenset(
    (
        *("type", "title", "description", "default", "examples", "enum", "const", "format"),
        *("properties", "required", "additionalProperties", "items", "anyOf"),
        *("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_FORMATS = frozenset({"date", "date-time", "time", "uuid", "uri"})
_FIELD = re.compile(r"(?!model_)[A-Za-z][A-Za-z0-9_]{0,99}")
_LOCAL = re.compile(r"#/(\$defs|definitions)/([^/~%]+)")
_MAX_PARTS = 1_000
_MAX_CHARACTERS = 64 * 1024


class UnresolvableError(ValueError):
    """A `$ref` that leads nowhere, elsewhere, or into itself; the message says which."""


def resolve_refs(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema with what its `$ref`s name in their places, and no definitions.

    Raises UnresolvableError.
    """
    definitions = {
        (table, name): part
        for table in ("$defs", "definitions")
        if isinstance(schema.get(table), Mapping)
        for name, part in schema[table].items()
    }
    count = 0

    def resolve(part: Any, open_refs: tuple[str, ...]) -> Any:
        nonlocal count
        count += 1
        if count > _MAX_PARTS:
            raise UnresolvableError(f"has more than {_MAX_PARTS:,} parts, references resolved")
        if isinstance(part, list):
            return [resolve(item, open_refs) for item in part]
        if not isinstance(part, Mapping):
            return part
        if "$ref" in part:
            return resolve_ref(part, open_refs)
        if isinstance(part.get("allOf"), list) and len(part["allOf"]) == 1:
            # How pydantic adds a description to a reference.
            (only,) = part["allOf"]
            rest = {key: value for key, value in part.items() if key != "allOf"}
            return {**_mapping(resolve(only, open_refs)), **_mapping(resolve(rest, open_refs))}
        return {key: resolve(value, open_refs) for key, value in part.items()}

    def resolve_ref(part: Mapping[str, Any], open_refs: tuple[str, ...]) -> dict[str, Any]:
        ref = str(part["$ref"])
        found = _LOCAL.fullmatch(ref)
        target = definitions.get((found[1], found[2])) if found else None
        if not isinstance(target, Mapping):
            raise UnresolvableError(f"$ref {ref[:80]!r} is none of the schema's own $defs")
        if ref in open_refs:
            raise UnresolvableError(f"$ref {ref[:80]!r} leads into itself; write it out, once")
        rest = {key: value for key, value in part.items() if key != "$ref"}
        resolved = _mapping(resolve(target, (*open_refs, ref)))
        return {**resolved, **_mapping(resolve(rest, open_refs))}

    plain = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    plain.pop("$schema", None)
    return _mapping(resolve(plain, ()))


def output_faults(schema: object, place: str) -> list[Violation]:
    """Return what is wrong with the schema of a task's output."""
    if not isinstance(schema, Mapping):
        return []  # the model reports it
    if len(json.dumps(schema)) > _MAX_CHARACTERS:
        return [Violation(place, f"longer than {_MAX_CHARACTERS:,} characters, resolved")]
    faults = list(_part_faults(schema, place))
    if schema.get("type") != "object" or not schema.get("properties"):
        faults.append(Violation(place, "an output is an object: type: object, with properties"))
    return faults


def _part_faults(schema: object, place: str) -> Iterator[Violation]:
    if not isinstance(schema, Mapping):
        yield Violation(place, "a schema is an object")
        return
    for keyword in schema:
        if keyword not in _KEYWORDS:
            allowed = ", ".join(sorted(_KEYWORDS))
            yield Violation(f"{place}.{keyword}", f"not allowed here; allowed are: {allowed}")
    types = schema.get("type", [])
    for name in types if isinstance(types, list) else [types]:
        if name not in _TYPES:
            yield Violation(f"{place}.type", f"one of {', '.join(sorted(_TYPES))}")
    if "format" in schema and schema["format"] not in _FORMATS:
        yield Violation(f"{place}.format", f"one of {', '.join(sorted(_FORMATS))}")
    yield from _value_faults(schema, place)
    yield from _property_faults(schema, place)
    if "items" in schema:
        yield from _part_faults(schema["items"], f"{place}.items")
    alternatives = schema.get("anyOf", [])
    if not isinstance(alternatives, list) or ("anyOf" in schema and not alternatives):
        yield Violation(f"{place}.anyOf", "a list of schemas")
        return
    for index, alternative in enumerate(alternatives):
        yield from _part_faults(alternative, f"{place}.anyOf[{index}]")


def _value_faults(schema: Mapping[str, Any], place: str) -> Iterator[Violation]:
    values = schema.get("enum", [])
    single = isinstance(values, list) and not any(isinstance(v, dict | list) for v in values)
    if "enum" in schema and not (values and single):
        yield Violation(f"{place}.enum", "a list of texts, numbers, true, false or null")
    if isinstance(schema.get("const"), dict | list):
        yield Violation(f"{place}.const", "a text, a number, true, false or null")
    if not isinstance(schema.get("additionalProperties", False), bool):
        yield Violation(f"{place}.additionalProperties", "true or false")
    for keyword in ("title", "description"):
        if keyword in schema and not isinstance(schema[keyword], str):
            yield Violation(f"{place}.{keyword}", "a text")
    for keyword in _KEYWORDS:
        numeric = keyword.startswith(("min", "max", "exclusive", "multiple"))
        value = schema.get(keyword, 0)
        if numeric and (isinstance(value, bool) or not isinstance(value, int | float)):
            yield Violation(f"{place}.{keyword}", "a number")


def _property_faults(schema: Mapping[str, Any], place: str) -> Iterator[Violation]:
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        yield Violation(f"{place}.properties", "an object of schemas")
        return
    for name, part in properties.items():
        if not _FIELD.fullmatch(name):
            fault = "a property's name is letters, digits and _, a letter first, not model_..."
            yield Violation(f"{place}.properties.{name}", fault)
        yield from _part_faults(part, f"{place}.properties.{name}")
    required = schema.get("required", [])
    if not isinstance(required, list):
        yield Violation(f"{place}.required", "a list of properties' names")
        return
    for name in required:
        if name not in properties:
            yield Violation(f"{place}.required", f"{name!r} is none of the properties")


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
