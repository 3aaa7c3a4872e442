"""The local model as CrewAI's agents use it, in a run's process."""

from __future__ import annotations

import os
from typing import Any

import httpx
from crewai.llms.base_llm import BaseLLM
from crewai.llms.hooks.base import BaseInterceptor
from crewai.llms.providers.openai.completion import OpenAICompletion

from crewmesh_worker.local_model.environment import (
    CUT_HEADER,
    KEY_VARIABLE,
    MODEL,
    URL_VARIABLE,
)

# The run's own limit is shorter, and others' calls may come first.
_CALL_SECONDS = 86_400.0


class _CutNotice(BaseInterceptor[httpx.Request, httpx.Response]):
    """Says in the run's log when the model didn't get all of a prompt."""

    def on_outbound(self, message: httpx.Request) -> httpx.Request:
        return message

    def on_inbound(self, message: httpx.Response) -> httpx.Response:
        cut = message.headers.get(CUT_HEADER, "0")
        if cut != "0":
            print(  # noqa: T201 - what a run prints becomes an event of its log
                f"the prompt was cut by {cut} tokens: it is longer than the local model reads "
                "(CREWMESH_LOCAL_CONTEXT_TOKENS)"
            )
        return message


class LocalLLM(OpenAICompletion):
    """The local model, told at each call what shape its task's result has.

    CrewAI says so to agents without tools only. Others answer in words, which is made JSON
    afterwards by a call of its own; a small model's words seldom can be.
    """

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
        """Return the answer or the tool calls, as the class does that this extends."""
        shape = response_model or _shape_of(from_task)
        # A copy, as agents that share a model may call it at the same time.
        asked = self.model_copy(update={"response_format": shape})
        return super(LocalLLM, asked).call(
            messages, tools, callbacks, available_functions, from_task, from_agent, response_model
        )


def _shape_of(task: Any) -> Any:
    return getattr(task, "output_pydantic", None) or getattr(task, "output_json", None)


def local_llm() -> BaseLLM | None:
    """Return the model; None where the worker doesn't serve it."""
    url, key = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    if not url or not key:
        return None
    return LocalLLM(
        model=MODEL,
        provider="openai",
        base_url=url,
        api_key=key,
        stream=True,
        timeout=_CALL_SECONDS,
        interceptor=_CutNotice(),
    )
