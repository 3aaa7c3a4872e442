"""Which tools there are."""

from __future__ import annotations

import pytest

from crewmesh_worker.tools.registry import load_tool, tool_names


def test_the_data_tools_are_there() -> None:
    assert {"profile_dataset", "query_sql", "draw_chart", "write_report"} <= tool_names()


@pytest.mark.parametrize("name", sorted(tool_names()))
def test_every_tool_says_what_it_does_and_what_each_argument_is(name: str) -> None:
    tool = load_tool(name)
    assert tool.name == name
    assert len(tool.description) > 40
    assert all(prop.get("description") for prop in tool.schema["properties"].values())


def test_tools_that_reach_hosts_or_datasets_say_that_they_bring_text_from_outside() -> None:
    outside = {name for name in tool_names() if load_tool(name).outside}
    assert outside == {
        *("fetch_pages", "download_files", "look_up_topic"),
        *("get_weather", "get_time", "convert_currency"),
        *("query_sql", "run_query", "profile_dataset", "compute_statistics"),
        *("draw_chart", "recommend_items"),
    }
    assert not {name for name in outside if load_tool(name).side_effects}
