"""The reference of tools, written from the registry: docs/reference/tools.md.

python -m crewmesh_worker.tools.reference > docs/reference/tools.md
"""

from __future__ import annotations

import sys
from typing import Any

from crewmesh_worker.tools.registry import Tool, load_tool, tool_names

_HEAD = """\
# Tools

What agents can use. A crew's definition names them; what they do is Crewmesh's. A tool's arguments
are checked against its JSON Schema before it is called, and one that can't do what it was asked
answers with what to do instead. Tools that reach the network do so through
[one guarded client](../decisions/0012-one-way-to-the-network.md).

This page is written from the code: `.venv/bin/python -m crewmesh_worker.tools.reference`.
"""


def render() -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD, *(_section(load_tool(name)) for name in sorted(tool_names()))])


def _section(tool: Tool) -> str:
    lines = [f"## {tool.name}", "", tool.description, ""]
    if tool.side_effects:
        lines += ["Changes something outside of its run: the same call is made once.", ""]
    if tool.outside:
        lines += ["Brings text from outside: see `approval.after_outside` of the policy.", ""]
    schema = tool.schema
    required = schema.get("required", [])
    lines += ["| argument | type | default | what |", "| --- | --- | --- | --- |"]
    for name, prop in schema["properties"].items():
        default = "required" if name in required else f"`{_default(prop)}`"
        what = " ".join(prop.get("description", "").split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {_type(prop, schema)} | {default} | {what} |")
    return "\n".join(lines) + "\n"


def _default(prop: dict[str, Any]) -> str:
    value = prop.get("default")
    return "null" if value is None else str(value)


def _type(prop: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in prop:
        return str(prop["$ref"].rpartition("/")[2].lower())
    if "enum" in prop:
        return " or ".join(f"`{value}`" for value in prop["enum"])
    if "anyOf" in prop:
        kinds = [_type(kind, schema) for kind in prop["anyOf"] if kind.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if prop.get("type") == "array":
        return f"list of {_type(prop['items'], schema)}"
    return str(prop.get("type", "any"))


if __name__ == "__main__":
    sys.stdout.write(render())
