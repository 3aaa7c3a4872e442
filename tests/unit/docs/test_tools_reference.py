"""The reference of tools, and the pages of crews, say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.tools.reference import render
from crewmesh_worker.tools.registry import load_tool

DOCS = Path(__file__).parents[3] / "docs"


def test_the_reference_is_what_the_registry_holds() -> None:
    page = (DOCS / "reference" / "tools.md").read_text(encoding="utf-8")
    assert page == render(), "python -m crewmesh_worker.tools.reference > docs/reference/tools.md"


@pytest.mark.parametrize(
    "name", ["assistant", "data-analyst", "process-automation", "recommender", "researcher"]
)
def test_the_page_of_a_crew_names_its_inputs_and_its_tools(name: str) -> None:
    definition = Catalogue.load().get(name)
    page = (DOCS / "crews" / f"{name}.md").read_text(encoding="utf-8")
    for given in definition.inputs["properties"]:
        assert f"| `{given}` |" in page
    for agent in definition.crew.agents.values():
        for tool in agent.tools:
            assert f"(../reference/tools.md#{tool})" in page
            assert load_tool(tool)
