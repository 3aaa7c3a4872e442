"""YAML as data: the values of JSON, no tags, every key once, aliases within bounds.

Plain scalars mean what they mean in YAML 1.2: `yes`, `12:30` and `2026-11-23` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from crewmesh.common.documents.places import Place, show_place
from crewmesh.common.documents.values import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    decode,
    refusal,
    value_faults,
)
from crewmesh.common.errors import InvalidInputError, Violation

_CLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_MERGE = _PREFIX + "merge"
_SCALARS = {_PREFIX + name for name in ("null", "bool", "int", "float", "str")}

# Other line ends and controls, which only an escape keeps as they are.
_SPECIAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


class StrictLoader(_CLoader):  # type: ignore[misc]  # whichever of the two there is
    """Composes nodes whose plain scalars are told apart as YAML 1.2 does."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way


# By tag: what a plain scalar looks like, and how it may begin.
_PLAIN = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    "int": (re.compile(r"[-+]?[0-9]{1,4000}\Z"), list("-+0123456789")),
    "float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
    ),
    "merge": (re.compile(r"<<\Z"), ["<"]),
}
for _tag, (_pattern, _first) in _PLAIN.items():
    StrictLoader.add_implicit_resolver(_PREFIX + _tag, _pattern, _first)


def read_yaml(content: bytes | str) -> Any:
    """Return the value of a YAML text.

    Raises InvalidInputError (INVALID_DOCUMENT) with every fault and its place.
    """
    root = compose(decode(content))
    reader = _Reader()
    value = reader.read(root, ()) if root is not None else None
    if faults := [*reader.faults, *value_faults(value)]:
        raise refusal(faults)
    return value


def compose(text: str) -> Node | None:
    """Return the text's root node, whose depth is bounded; None for an empty text."""
    try:
        _check_events(text)
        root: Node | None = yaml.compose(text, StrictLoader)
        return root
    except yaml.YAMLError as error:
        raise refusal([Violation(show_place(()), f"not YAML: {_say(error)}")]) from None


def write_yaml(value: Any) -> str:
    """Return a value as YAML in one fixed form: keys in their order, long texts as blocks."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, indent=2
    )


def _check_events(text: str) -> None:
    """Refuse what must not reach the composer, which recurses."""
    depth = 0
    for event in yaml.parse(text, _CLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                fault = f"nested more than {MAX_DEPTH} levels deep"
                raise _refused_at(event.start_mark, fault)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _SCALARS and tag != "!":
            raise _refused_at(
                event.start_mark, f"the tag {tag!r} is not taken: a document holds plain data"
            )


def _refused_at(mark: Any, fault: str) -> InvalidInputError:
    return refusal([Violation(show_place(()), f"line {mark.line + 1}: {fault}")])


class _Reader:
    """Makes values of nodes; counts what stands behind aliases each time it is used."""

    def __init__(self) -> None:
        self.faults: list[Violation] = []
        self._count = 0
        self._characters = 0
        self._open: set[int] = set()

    def read(self, node: Node, place: Place) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            fault = f"holds more than {MAX_VALUES:,} values, aliases counted as often as used"
            raise refusal([Violation(show_place(()), fault)])
        if id(node) in self._open or len(place) > MAX_DEPTH:
            raise _refused_at(node.start_mark, "an alias leads into itself, or too deep")
        if isinstance(node, ScalarNode):
            return self._read_scalar(node, place)
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                return [self.read(item, (*place, n)) for n, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            return self._read_mapping(node, place)
        finally:
            self._open.discard(id(node))

    def _read_scalar(self, node: ScalarNode, place: Place) -> Any:
        self._characters += len(node.value)
        if self._characters > MAX_BYTES:
            fault = f"holds more than {MAX_BYTES:,} characters, aliases counted as often as used"
            raise refusal([Violation(show_place(()), fault)])
        kind = node.tag.removeprefix(_PREFIX)
        try:
            return _SCALAR_READERS[kind](node.value)
        except (KeyError, ValueError):
            self.faults.append(Violation(show_place(place), f"{node.value[:40]!r} is no {kind}"))
            return None

    def _read_mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = {**self._read_merged(value_node, place), **merged}
                continue
            key = self._read_key(key_node, place)
            if key in own:
                line = key_node.start_mark.line + 1
                fault = f"this key is there twice (again in line {line})"
                self.faults.append(Violation(show_place((*place, key)), fault))
            own[key] = self.read(value_node, (*place, key))
        return {**merged, **own}

    def _read_key(self, node: Node, place: Place) -> str:
        value: Hashable = node.value if isinstance(node, ScalarNode) else None
        if not isinstance(value, str):
            raise _refused_at(node.start_mark, "a key must be a text")
        self._count += 1
        return value

    def _read_merged(self, node: Node, place: Place) -> dict[str, Any]:
        """Return what `<<` brings in: a mapping, or several, of which the first wins."""
        value = self.read(node, place)
        parts = value if isinstance(value, list) else [value]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict):
                raise _refused_at(node.start_mark, "<< takes a mapping, or a list of mappings")
            merged = {**part, **merged}
        return merged


_SCALAR_READERS: dict[str, Any] = {
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int,
    "float": lambda text: float(re.sub(r"\.(inf|nan)", r"\1", text.lower())),
    "str": str,
    "merge": str,
}


def _say(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} at line {mark.line + 1}, column {mark.column + 1}" if mark else str(problem)


class _Dumper(yaml.SafeDumper):
    """Without aliases, and with the lists of a mapping set in."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    style: str | None
    if _SPECIAL.search(text):
        style = '"'
    elif "\n" in text:
        style = "|"
    else:
        # PyYAML quotes what YAML 1.1 takes for something else; here, what 1.2 does.
        plain = not any(pattern.match(text) for pattern, _ in _PLAIN.values())
        style = None if plain else "'"
    return dumper.represent_scalar(_PREFIX + "str", text, style=style)


_Dumper.add_representer(str, _represent_text)
