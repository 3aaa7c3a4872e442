"""JSON that a grammar has begun and a limit of tokens has cut off, made whole.

A grammar keeps what the model writes within a schema, but not its length: a text that never
ends would leave half an object. What is there is kept as far as lengths allow, and what is
required and missing gets the smallest value that the schema allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from pydantic_core import from_json

_SMALLEST: dict[str, Any] = {"boolean": False, "null": None}
_MAX_DEPTH = 8


def complete_json(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value of a JSON text, whole or cut off, that fits the schema."""
    try:
        value = from_json(text or "null", allow_partial="trailing-strings")
    except ValueError:
        value = None
    definitions = schema.get("$defs", {})
    completed = _complete(value, schema, definitions, 0)
    if Draft202012Validator(dict(schema)).is_valid(completed):
        return completed
    return _smallest(schema, definitions, 0)


def _complete(value: Any, schema: Any, definitions: Mapping[str, Any], depth: int) -> Any:
    schema = _resolved(schema, definitions)
    if depth > _MAX_DEPTH:
        return value
    if options := (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        return _complete_any(value, options, definitions, depth)
    if isinstance(value, str):
        return value[: schema.get("maxLength")]
    if isinstance(value, list):
        items, most = schema.get("items", {}), schema.get("maxItems")
        return [_complete(item, items, definitions, depth + 1) for item in value[:most]]
    properties = schema.get("properties")
    if not isinstance(value, dict) or properties is None:
        return value
    whole = {}
    for name, item in value.items():
        part = properties.get(name, {})
        completed = _complete(item, part, definitions, depth + 1)
        if _fits(completed, part, definitions):
            whole[name] = completed
    for name in schema.get("required", ()):
        if name not in whole:
            whole[name] = _smallest(properties.get(name, {}), definitions, depth + 1)
    return whole


def _complete_any(
    value: Any, options: Sequence[Any], definitions: Mapping[str, Any], depth: int
) -> Any:
    for option in options:
        completed = _complete(value, option, definitions, depth + 1)
        if _fits(completed, option, definitions):
            return completed
    return value


def _fits(value: Any, schema: Any, definitions: Mapping[str, Any]) -> bool:
    if not isinstance(schema, Mapping):
        return bool(schema)
    return bool(Draft202012Validator({**schema, "$defs": definitions}).is_valid(value))


def _smallest(schema: Any, definitions: Mapping[str, Any], depth: int) -> Any:
    schema = _resolved(schema, definitions)
    if "default" in schema:
        return schema["default"]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        return _smallest(option, definitions, depth + 1)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if depth > _MAX_DEPTH:
        return None
    if kind == "array":
        item = schema.get("items", {})
        return [_smallest(item, definitions, depth + 1)] * int(schema.get("minItems", 0))
    if kind == "object":
        properties = schema.get("properties", {})
        names = schema.get("required", ())
        return {n: _smallest(properties.get(n, {}), definitions, depth + 1) for n in names}
    if kind == "string":
        return "-" * int(schema.get("minLength", 0))
    if kind in ("integer", "number"):
        return max(0, schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
    return _SMALLEST[kind]


def _resolved(schema: Any, definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        found = definitions.get(reference.rpartition("/")[2], {})
        return found if isinstance(found, Mapping) else {}
    return schema
