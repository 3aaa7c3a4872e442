"""Grammars (GBNF) of JSON schemas, such that llama.cpp takes them.

llama.cpp nests a group for every character or item that a length allows: a text of at most 4,000
characters overflows its stack, and a grammar that it can't read crashes the process that uses
it. So lengths are left to `structured.complete_json`, and every grammar is tried before its use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from crewmesh_worker.local_model.choice import ANY_OBJECT

_MAX_ITEMS: Final = 20
_MAX_GRAMMAR_CHARACTERS: Final = 50_000
_MAX_DEPTH: Final = 20
# What they hold are values, not schemas.
_VALUES: Final = frozenset(("const", "enum", "default", "examples"))


def json_grammar(schema: Mapping[str, Any], usable: Callable[[str], bool]) -> str:
    """Return the grammar of a schema; of some object where it has none that is `usable`."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    convert: Callable[[str], str] = json_schema_to_gbnf
    try:
        grammar = convert(json.dumps(without_lengths(schema)))
    except Exception:  # noqa: BLE001 - the library raises anything for what it can't say
        grammar = ""
    if 0 < len(grammar) <= _MAX_GRAMMAR_CHARACTERS and usable(grammar):
        return grammar
    return convert(json.dumps(ANY_OBJECT))


def without_lengths(schema: Any, depth: int = 0) -> Any:
    """Return the schema without lengths of texts, and without high numbers of items.

    Raises ValueError for one that is nested too deep.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("the schema is nested too deep")
    if isinstance(schema, list):
        return [without_lengths(part, depth + 1) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: part if name in _VALUES else without_lengths(part, depth + 1)
        for name, part in schema.items()
        if not _is_length(name, part)
    }


def _is_length(name: str, value: Any) -> bool:
    if not isinstance(value, int):
        return False
    return name in ("minLength", "maxLength") or (
        name in ("minItems", "maxItems") and value > _MAX_ITEMS
    )
