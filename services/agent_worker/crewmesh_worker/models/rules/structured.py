"""An answer in the form that a schema asks for.

Each field gets what the task, its context or its tools' results give under its name, or
else the emptiest value of its type. Rules judge nothing: a field that is true or false is true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crewmesh_worker.models.rules.conversation import Conversation

_MAX_DEPTH = 20


def fill(schema: Mapping[str, Any], conversation: Conversation, answer: str) -> str:
    """Return JSON that fits `schema`, an object's; the first free text of it is the answer."""
    return json.dumps(_Filling(schema, conversation, answer).fill(schema, 0), ensure_ascii=False)


class _Filling:
    def __init__(self, root: Mapping[str, Any], conversation: Conversation, answer: str) -> None:
        self._definitions = root.get("$defs", {})
        self._given = dict(_given(conversation))
        self._conversation = conversation
        self._answer = answer

    def fill(self, schema: Mapping[str, Any], depth: int) -> Any:
        schema = self._resolved(schema)
        if depth > _MAX_DEPTH or "default" in schema:
            return schema.get("default")
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"])
        if schema.get("anyOf"):
            kinds = [self._resolved(option).get("type") for option in schema["anyOf"]]
            return None if "null" in kinds else self.fill(schema["anyOf"][0], depth + 1)
        declared = schema.get("type", "string")
        kind = declared[0] if isinstance(declared, list) else declared
        if kind == "object":
            return {
                name: self._field(name, part, depth + 1)
                for name, part in schema.get("properties", {}).items()
            }
        if kind == "array":
            return [
                self.fill(schema.get("items", {}), depth + 1)
                for _ in range(schema.get("minItems", 0))
            ]
        if kind == "string":
            return self._text(schema)
        return _EMPTY[kind](schema)

    def _field(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        tagged = self._conversation.tagged(name)
        given = self._given.get(name, tagged) if tagged or name in self._given else None
        if given is not None and _fits(given, schema := self._resolved(schema)):
            return given
        return self.fill(schema, depth)

    def _choice(self, options: list[Any]) -> Any:
        """Return the option that the task's text holds, the first one by default."""
        text = self._conversation.task
        found = (o for o in options if re.search(rf"\b{re.escape(str(o))}\b", text))
        return next(found, options[0])

    def _text(self, schema: Mapping[str, Any]) -> str:
        if "format" in schema:
            return _FORMATS.get(schema["format"], "")
        text, self._answer = self._answer, ""
        return text[: schema.get("maxLength", len(text))]

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        ref = str(schema.get("$ref", ""))
        return self._definitions.get(ref.rpartition("/")[2], {}) if ref else schema


_EMPTY: dict[str, Any] = {
    "integer": lambda schema: _number(schema),
    "number": lambda schema: _number(schema),
    "boolean": lambda _: True,
    "null": lambda _: None,
}
_FORMATS = {
    "date": "1970-01-01",
    "date-time": "1970-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "uri": "about:blank",
}
_PYTHON: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


def _number(schema: Mapping[str, Any]) -> int | float:
    least: int | float = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    return max(0, least)


def _given(conversation: Conversation) -> Iterator[tuple[str, Any]]:
    """Yield the fields of JSON objects in the context and the results, the newest last."""
    texts = [conversation.context, *(result.text for result in conversation.results)]
    for text in texts:
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield from value.items()


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    if "enum" in schema:
        return value in schema["enum"]
    return isinstance(kind, str) and isinstance(value, _PYTHON.get(kind, ()))
