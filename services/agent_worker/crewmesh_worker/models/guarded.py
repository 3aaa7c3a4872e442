"""The model that an agent gets: one or several of CrewAI's, behind what holds for all calls.

Every call of a run goes through here. It is made again after errors that pass, goes on with
the next model when one has failed for good, and is asked for and settled where a budget holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import BaseLLM, call_stop_override
from crewai.types.usage_metrics import UsageMetrics
from crewai.utilities.agent_utils import is_context_length_exceeded
from pydantic import PrivateAttr

from crewmesh_worker.models.newer import LLMCallBlockedError, retrying_calls
from crewmesh_worker.models.retries import call_with_retries

F = TypeVar("F", bound=Callable[..., Any])


class Guard(Protocol):
    """What a run knows of its model calls."""

    deadline: float

    def models(self, names: list[str]) -> list[BaseLLM]:
        """Return the models of these names; raise ModelError if there is none."""

    def admit(
        self, model: BaseLLM, messages: Any, tools: Any, response_model: Any
    ) -> AbstractContextManager[BaseLLM]:
        """Let one call through: as the model that is given, and accounted for at the end."""

    def replayed(self, task: Any) -> Any:
        """Return the answer that a task's next call gets without a model; None for none."""

    def answered(self, task: Any, messages: Any, answer: Any) -> None:
        """Take note of what a call of a task has got."""

    def retried(
        self, model: BaseLLM, source: dict[str, Any], number: int, error: BaseException, wait: float
    ) -> None:
        """Tell of a call that will be made again in `wait` seconds."""


def _ours(method: F) -> F:
    """Keep CrewAI from making the calls of this method again: they have been already."""
    method._crewai_rate_limit_wrapped = True  # type: ignore[attr-defined]
    return method


class GuardedModel(BaseLLM):
    """The first of its models, to CrewAI; the others are called when those before have failed."""

    _models: list[BaseLLM] = PrivateAttr()
    _guard: Guard = PrivateAttr()

    def __init__(self, models: list[BaseLLM], guard: Guard) -> None:
        first = models[0]
        super().__init__(
            model=first.model, provider=first.provider, stream=first.stream, stop=list(first.stop)
        )
        self._models = models
        self._guard = guard

    @property
    def first(self) -> BaseLLM:
        """The model that is called before the others."""
        return self._models[0]

    def instead(self, names: list[str]) -> GuardedModel:
        """Return other models behind the same guard; these where none is named."""
        return GuardedModel(self._guard.models(names), self._guard) if names else self

    @_ours
    def call(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        """Return the first answer that one of the models gives."""
        if (replayed := self._guard.replayed(from_task)) is not None:
            return replayed
        answer = self._ask(
            messages, tools, callbacks, available_functions, from_task, from_agent, response_model
        )
        self._guard.answered(from_task, messages, answer)
        return answer

    def _ask(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None,
        callbacks: list[Any] | None,
        available_functions: dict[str, Any] | None,
        from_task: Any,
        from_agent: Any,
        response_model: Any,
    ) -> Any:
        source = {"from_task": from_task, "from_agent": from_agent}

        def ask(model: BaseLLM) -> Any:
            with (
                self._guard.admit(model, messages, tools, response_model) as admitted,
                self._call_settings(admitted),
            ):
                return admitted.call(
                    messages,
                    tools,
                    callbacks,
                    available_functions,
                    response_model=response_model,
                    **source,
                )

        *others, last = self._models
        for model in others:
            try:
                return self._insist(ask, model, source)
            except (HookAborted, LLMCallBlockedError):
                raise
            except Exception as error:
                if is_context_length_exceeded(error):
                    raise  # the agent shortens its conversation
        return self._insist(ask, last, source)

    @_ours
    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Do the same for code that awaits."""
        return await asyncio.to_thread(self.call, *args, **kwargs)

    def _insist(self, ask: Callable[[BaseLLM], Any], model: BaseLLM, source: dict[str, Any]) -> Any:
        return call_with_retries(
            lambda: ask(model),
            lambda number, error, wait: self._guard.retried(model, source, number, error, wait),
            self._guard.deadline,
        )

    @contextmanager
    def _call_settings(self, model: BaseLLM) -> Iterator[None]:
        """Have the model stop where this one is told to, and make no call twice by itself."""
        retrying = retrying_calls.set(True)
        try:
            with call_stop_override(model, self.stop_sequences or None):
                yield
        finally:
            retrying_calls.reset(retrying)

    def supports_function_calling(self) -> bool:
        """Return what the first model says."""
        # Not every model of CrewAI's has it.
        supports = getattr(self._models[0], "supports_function_calling", None)
        return bool(supports()) if supports is not None else False

    def supports_stop_words(self) -> bool:
        """Return what the first model says."""
        return self._models[0].supports_stop_words()

    def supports_multimodal(self) -> bool:
        """Return what the first model says."""
        return self._models[0].supports_multimodal()

    def get_context_window_size(self) -> int:
        """Return the smallest window: a conversation may go on with any of the models."""
        return min(model.get_context_window_size() for model in self._models)

    def get_input_tokens_count(
        self, messages: Any, tools: Any = None, response_model: Any = None
    ) -> int:
        """Return what the first model counts."""
        return self._models[0].get_input_tokens_count(messages, tools, response_model)

    def get_token_usage_summary(self) -> UsageMetrics:
        """Return the sum over the models."""
        total = UsageMetrics()
        for model in self._models:
            total.add_usage_metrics(model.get_token_usage_summary())
        return total

    def format_text_content(self, text: str) -> dict[str, Any]:
        """Return what the first model makes of a text."""
        return self._models[0].format_text_content(text)

    def get_file_uploader(self) -> Any:
        """Return the first model's."""
        return self._models[0].get_file_uploader()
