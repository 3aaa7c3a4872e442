"""How many tokens a call may take."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import LLM

from crewmesh_worker.models.limits import capped, most_prompt_tokens, wanted_completion_tokens
from crewmesh_worker.models.offline import OfflineLLM


@pytest.mark.parametrize(
    "text", ["plain words", "42" * 100, "日本語のテキスト", "🙂" * 20, "\ud800", "{}[]();" * 9]
)
def test_a_prompt_is_never_counted_below_its_bytes(text: str) -> None:
    messages = [{"role": "user", "content": text}]
    assert most_prompt_tokens(messages) > len(text.encode(errors="replace"))
    assert most_prompt_tokens(text) > len(text.encode(errors="replace"))


def test_tools_count_as_what_they_say_and_what_providers_add() -> None:
    tools = [{"type": "function", "function": {"name": "t", "description": "d" * 500}}]
    assert most_prompt_tokens("x", tools) >= most_prompt_tokens("x") + 1_500


@pytest.fixture
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.usefixtures("_keys")
@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"model": "openai/gpt-5-mini"}, "max_completion_tokens"),
        ({"model": "openai/gpt-4o", "base_url": "http://model.example/v1"}, "max_tokens"),
    ],
)
def test_an_answer_is_capped_in_the_words_that_its_server_knows(
    options: dict[str, Any], field: str
) -> None:
    model = LLM(**options)
    copy = capped(model, 300)
    params = copy._prepare_completion_params([{"role": "user", "content": "x"}])  # type: ignore[attr-defined]
    assert params[field] == 300
    assert {"max_tokens", "max_completion_tokens"} & params.keys() == {field}
    # The model itself is as it was.
    assert model._effective_max_tokens() is None


def test_a_model_with_a_limit_of_its_own_wants_no_more() -> None:
    assert wanted_completion_tokens(OfflineLLM()) == 8_192
    assert wanted_completion_tokens(capped(OfflineLLM(), 100)) == 100


def test_offline_gives_no_longer_answer_than_it_may() -> None:
    model = capped(OfflineLLM(), 5)
    answer = model.call([{"role": "user", "content": "Introduce this topic: whales " * 20}])
    assert len(answer) <= 20
