"""Makes the model that a run's agents use."""

from __future__ import annotations

import os

from crewai import LLM
from crewai.llms.base_llm import BaseLLM

from crewmesh_worker.local_model.environment import MODEL
from crewmesh_worker.local_model.files import explain_missing
from crewmesh_worker.models.local import local_llm
from crewmesh_worker.models.offline import OfflineLLM

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
        return LLM(model=model, stream=True)
    except Exception as error:
        raise ModelError(f"the model {model!r} can't be set up: {error}") from error


def _latency_seconds() -> float:
    text = os.environ.get(LATENCY_VARIABLE, "0")
    try:
        return max(0.0, float(text)) / 1000
    except ValueError:
        raise ModelError(f"{LATENCY_VARIABLE}={text!r} is no number of milliseconds") from None
