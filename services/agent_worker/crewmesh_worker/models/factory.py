"""Makes the model that a run's agents use."""

from __future__ import annotations

import os
from typing import Any

from crewai import LLM
from crewai.llms.base_llm import BaseLLM

from crewmesh_worker.local_model.environment import MODEL
from crewmesh_worker.local_model.files import explain_missing
from crewmesh_worker.models.local import local_llm
from crewmesh_worker.models.offline import OfflineLLM

# Without a word from the provider for so long, a call has failed.
_CALL_SECONDS = 120.0

LATENCY_VARIABLE = "CREWMESH_OFFLINE_LATENCY_MS"


class ModelError(ValueError):
    """There is no such model, or it can't be set up; the message says what to use instead."""


def make_llm(model: str) -> BaseLLM:
    """Return the model of that name: `offline`, `local`, or CrewAI's, as `openai/gpt-4o`.

    Keys come from the run's environment, as CrewAI's models read them.
    """
    if model == "offline":
        return OfflineLLM(latency_seconds=_latency_seconds())
    if model == MODEL:
        llm = local_llm()
        if llm is None:
            raise ModelError(explain_missing(None))
        return llm
    try:
        return _ready(LLM(model=model, stream=True, **_options(model)))
    except Exception as error:
        raise ModelError(f"the model {model!r} can't be set up: {error}") from error


def _options(model: str) -> dict[str, Any]:
    # A server of one's own that speaks OpenAI's interface has models that CrewAI doesn't know.
    elsewhere = model.startswith("openai/") and os.environ.get("OPENAI_BASE_URL")
    return {"custom_openai": True} if elsewhere else {}


def _ready(model: BaseLLM) -> BaseLLM:
    """Have its client made now, where it has one; calls are made again by us, never by it."""
    make_client = getattr(model, "_get_sync_client", None)
    clients = [] if make_client is None else [make_client(), getattr(model, "_async_client", None)]
    for client in filter(None, clients):
        if hasattr(client, "max_retries"):
            client.max_retries = 0
        if hasattr(client, "timeout"):
            client.timeout = _CALL_SECONDS
    return model


def _latency_seconds() -> float:
    text = os.environ.get(LATENCY_VARIABLE, "0")
    try:
        return max(0.0, float(text)) / 1000
    except ValueError:
        raise ModelError(f"{LATENCY_VARIABLE}={text!r} is no number of milliseconds") from None
