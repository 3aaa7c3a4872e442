"""In which lines of a text its values are."""

from __future__ import annotations

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from crewmesh.common.documents.places import Place
from crewmesh.common.documents.values import MAX_VALUES
from crewmesh.common.documents.yaml_text import compose
from crewmesh.common.errors import InvalidInputError


def find_lines(text: str) -> dict[Place, int]:
    """Return the line, from 1 on, of each place in a YAML or JSON text; none if it is neither."""
    try:
        # Tabs between JSON's tokens are nothing to YAML; inside of its texts there are none.
        root = compose(text.replace("\t", " ") if text.lstrip().startswith(("{", "[")) else text)
    except InvalidInputError:
        return {}
    lines: dict[Place, int] = {}
    if root is not None:
        _collect(root, (), lines)
    return lines


def _collect(node: Node, place: Place, lines: dict[Place, int]) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(lines) > MAX_VALUES:
        return
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            _collect(item, (*place, index), lines)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                lines[(*place, key.value)] = key.start_mark.line + 1
                _collect(value, (*place, key.value), lines)
