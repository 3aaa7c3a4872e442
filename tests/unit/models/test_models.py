"""The offline model as CrewAI sees it, and the factory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from crewai.events.stream_context import add_stream_sink, reset_stream_sinks

from crewmesh_worker.models import make_llm
from crewmesh_worker.models.factory import LATENCY_VARIABLE, ModelError
from crewmesh_worker.models.offline import OfflineLLM

TASK = [{"role": "user", "content": "\nCurrent Task: Introduce gRPC."}]
TOOL = {
    "type": "function",
    "function": {"name": "profile_dataset", "parameters": {"type": "object", "properties": {}}},
}
CALL_A_TOOL = [{"role": "user", "content": "\nCurrent Task: Use profile_dataset."}]


@pytest.fixture
def events() -> Iterator[list[Any]]:
    seen: list[Any] = []
    token = add_stream_sink(lambda _source, event: seen.append(event))
    yield seen
    reset_stream_sinks(token)


def test_an_answer_is_streamed_word_by_word_in_one_call(events: list[Any]) -> None:
    answer = OfflineLLM().call(TASK)
    types = [event.type for event in events]
    assert types[0] == "llm_call_started"
    assert set(types[1:-1]) == {"llm_stream_chunk"}
    assert types[-1] == "llm_call_completed"
    assert "".join(event.chunk for event in events[1:-1]) == answer
    assert len(events) - 2 == len(answer.split())
    assert len({event.call_id for event in events}) == 1


def test_usage_is_an_estimate_that_is_always_the_same(events: list[Any]) -> None:
    model = OfflineLLM()
    answers = {model.call(TASK) for _ in range(3)}
    usages = [event.usage for event in events if event.type == "llm_call_completed"]
    assert len(answers) == 1
    assert usages[0] == usages[1] == usages[2]
    assert usages[0]["total_tokens"] == usages[0]["prompt_tokens"] + usages[0]["completion_tokens"]
    assert usages[0]["completion_tokens"] == (len(answers.pop()) + 3) // 4
    assert model.get_token_usage_summary().total_tokens == 3 * usages[0]["total_tokens"]


def test_a_tool_is_called_in_openais_form(events: list[Any]) -> None:
    (call,) = OfflineLLM().call(CALL_A_TOOL, tools=[TOOL])
    assert call["function"] == {"name": "profile_dataset", "arguments": "{}"}
    assert [event.type for event in events] == ["llm_call_started", "llm_call_completed"]
    assert events[-1].call_type.value == "tool_call"


def test_a_failure_is_told_as_an_event(events: list[Any]) -> None:
    broken = [*CALL_A_TOOL, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]
    with pytest.raises(KeyError):
        OfflineLLM().call(broken, tools=[TOOL])
    assert [event.type for event in events] == ["llm_call_started", "llm_call_failed"]


def test_no_conversation_is_too_long_for_rules() -> None:
    model = OfflineLLM()
    long = [{"role": "user", "content": "x" * 1_000_000}]
    assert not model.is_context_window_overflowing_threshold(long)
    assert model.supports_function_calling()


def test_latency_is_spread_over_the_chunks(
    monkeypatch: pytest.MonkeyPatch, events: list[Any]
) -> None:
    monkeypatch.setenv(LATENCY_VARIABLE, "150")
    model = make_llm("offline")
    start = time.perf_counter()
    model.call(TASK)
    assert time.perf_counter() - start >= 0.15
    half = [event.timestamp for event in events if event.type == "llm_stream_chunk"]
    assert (half[len(half) // 2] - half[0]).total_seconds() > 0.03


def test_a_wrong_latency_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LATENCY_VARIABLE, "soon")
    with pytest.raises(ModelError, match="no number of milliseconds"):
        make_llm("offline")


def test_the_local_model_says_how_to_install_it_where_it_is_not_served() -> None:
    with pytest.raises(ModelError, match="make local-model"):
        make_llm("local")


def test_a_providers_model_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    model = make_llm("openai/gpt-4o-mini")
    assert (model.model, model.stream) == ("gpt-4o-mini", True)


@pytest.mark.parametrize("name", ["nobody/nothing", ""])
def test_a_model_that_cannot_be_set_up_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match=f"the model '{name}' can't be set up"):
        make_llm(name)


def test_calls_are_json_that_a_tool_can_take() -> None:
    (call,) = OfflineLLM().call(CALL_A_TOOL, tools=[TOOL])
    assert json.loads(call["function"]["arguments"]) == {}
