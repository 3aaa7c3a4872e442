"""`python -m crewmesh_worker.tools.describe`: says what the tools are, as JSON.

In a process of its own: a worker's main process never loads what tools need.
"""

from __future__ import annotations

import json
import sys

from crewmesh_worker.tools.registry import load_tool, tool_names


def main() -> None:
    """Write a list of {name, description, arguments, side_effects}, by name."""
    tools = [load_tool(name) for name in sorted(tool_names())]
    described = [
        {
            "name": tool.name,
            "description": tool.description,
            "arguments": tool.schema,
            "side_effects": tool.side_effects,
        }
        for tool in tools
    ]
    json.dump(described, sys.stdout)


if __name__ == "__main__":
    main()
