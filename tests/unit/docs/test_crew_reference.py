"""The reference of crew definitions says what the model takes.

`python -m tests.unit.docs.test_crew_reference` writes the page's tables anew.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from crewmesh.common.documents import read_yaml
from crewmesh.v1 import agent_pb2
from crewmesh_worker.crews import hints
from crewmesh_worker.crews.formats import read_definition
from crewmesh_worker.crews.model import (
    AgentDefinition,
    CrewBody,
    CrewDefinition,
    PlanningDefinition,
    TaskDefinition,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "crew-definition.md"
PARTS = [CrewDefinition, CrewBody, AgentDefinition, PlanningDefinition, TaskDefinition]


def rows_of(part: type[BaseModel]) -> list[str]:
    """Return the table that says what a part of a definition takes."""
    rows = []
    for name, field in part.model_fields.items():
        default: Any = field.get_default(call_default_factory=True)
        shown = "needed" if field.is_required() else f"`{json.dumps(default)}`"
        rows.append(f"| `{name}` | {'' if default is None else shown} | {field.description} |")
    return rows


def hint_rows() -> list[str]:
    """Return the table of what is refused, by what to do instead."""
    keys = defaultdict(list)
    for key, hint in hints.HINTS.items():
        keys[hint].append(f"`{key}`")
    return [f"| {', '.join(names)} | {hint} |" for hint, names in keys.items()]


def tables() -> dict[str, list[str]]:
    return {**{part.__name__: rows_of(part) for part in PARTS}, "hints": hint_rows()}


@pytest.mark.parametrize("name", tables())
def test_every_key_is_on_the_page_with_its_default(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"((?:^\|.*\|\n)*)<!-- {name} -->", page, re.MULTILINE)
    assert found is not None
    assert found[1].splitlines()[2:] == tables()[name]


def test_the_pages_example_is_taken() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    definition = read_definition(example[1].encode(), agent_pb2.CREW_FORMAT_YAML, "briefing")
    assert definition.crew.tasks[0].agent == "writer"
    assert read_yaml(example[1])["name"] == "briefing"


def write_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, rows in tables().items():
        head = r"(^\| key .*\|\n\| --- .*\|\n)(?:^\|.*\|\n)*"
        page = re.sub(
            rf"{head}<!-- {name} -->",
            lambda found, rows=rows, name=name: found[1] + "\n".join(rows) + f"\n<!-- {name} -->",
            page,
            flags=re.MULTILINE,
        )
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    write_page()
