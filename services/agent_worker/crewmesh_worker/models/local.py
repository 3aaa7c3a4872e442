"""The local model as CrewAI's agents use it, in a run's process."""

from __future__ import annotations

import os
from typing import Any

import httpx
from crewai import LLM
from crewai.llms.base_llm import BaseLLM
from crewai.llms.hooks.base import BaseInterceptor

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


def local_llm() -> BaseLLM | None:
    """Return the model; None where the worker doesn't serve it."""
    url, key = os.environ.get(URL_VARIABLE), os.environ.get(KEY_VARIABLE)
    if not url or not key:
        return None
    options: dict[str, Any] = {"provider": "openai", "base_url": url, "api_key": key}
    return LLM(model=MODEL, stream=True, timeout=_CALL_SECONDS, interceptor=_CutNotice(), **options)
