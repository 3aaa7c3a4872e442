"""YAML and JSON texts from people: read strictly, with the place of every fault, and written back.

A place is a path of keys and positions: `("tasks", 1, "agent")` is `tasks[1].agent`.
"""

from crewmesh.common.documents.json_text import read_json, strip_comments
from crewmesh.common.documents.lines import find_lines
from crewmesh.common.documents.places import Place, show_place
from crewmesh.common.documents.values import MAX_BYTES, MAX_DEPTH, MAX_VALUES
from crewmesh.common.documents.yaml_text import read_yaml, write_yaml

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "Place",
    "find_lines",
    "read_json",
    "read_yaml",
    "show_place",
    "strip_comments",
    "write_yaml",
]
