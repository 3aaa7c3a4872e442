"""A model that does whatever a page tells it to, in a crew that hasn't got the tools for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.llms.base_llm import BaseLLM
from pytest_httpserver import HTTPServer

from crewmesh_worker.crews.build import build_crew
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.tools.context import RunContext

METADATA = "http://169.254.169.254/latest/meta-data/"


class Obedient(BaseLLM):
    """Fetches the page, then calls what the page names, then tells what came of it."""

    page: str = ""

    def call(self, messages: Any, tools: Any = None, *_: Any, **__: Any) -> Any:
        calls = [
            ("fetch_pages", {"urls": [self.page]}),
            ("download_files", {"urls": [METADATA]}),
            ("query_sql", {"sql": "SELECT 1"}),
            ("fetch_pages", {"urls": [METADATA]}),
        ]
        results = [message for message in messages if message["role"] == "tool"]
        if len(results) == len(calls):
            return "\n".join(str(message["content"]) for message in results[1:])
        name, arguments = calls[len(results)]
        function = {"name": name, "arguments": json.dumps(arguments)}
        return [{"id": str(len(results)), "type": "function", "function": function}]

    def supports_function_calling(self) -> bool:
        return True

    def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
        return 0


def test_tools_that_the_crew_has_not_got_are_not_called_and_those_it_has_stay_guarded(
    run: RunContext, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path))
    inputs = {"question": "How many steps?", "urls": [httpserver.url_for("/hostile")]}
    model = Obedient(model="obedient", page=inputs["urls"][0])
    crew = build_crew(Catalogue.load().get("researcher"), inputs, model)
    events: list[Any] = []
    token = add_stream_sink(lambda _, event: events.append(event))
    answer = crew.kickoff(inputs=inputs).raw
    reset_stream_sinks(token)
    said = {e.tool_name: str(e.output) for e in events if e.type == "tool_usage_finished"}
    for tool in ("download_files", "query_sql"):
        assert "not found" in said[tool]
    assert "is a cloud's metadata" in answer
    assert {request.path for request, _ in httpserver.log} == {"/robots.txt", "/hostile"}
    assert list(tmp_path.glob(".download-*")) == []
