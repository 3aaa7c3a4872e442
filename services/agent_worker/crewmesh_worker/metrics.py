"""What a worker counts, for Prometheus."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from crewmesh.common.metrics import DURATION_BUCKETS, CallMetrics, make_registry
from crewmesh.v1 import run_store_pb2
from crewmesh_worker.runs.slots import Slots

# How attempts end, by the type of their last event.
_OUTCOMES: Final = {
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
    "run.timed_out": "timed_out",
    "run.queued": "requeued",
    "input.requested": "waiting",
    "lost": "lost",
}
# Tenants name models as they like, so only providers that CrewAI knows make labels.
_PROVIDERS: Final = frozenset(
    {"offline", "local", "openai", "anthropic", "gemini", "google", "azure", "bedrock", "groq"}
    | {"mistral", "openrouter", "deepseek", "ollama", "huggingface", "cerebras", "watsonx"}
)
_OTHER: Final = "other"


class WorkerMetrics:
    """One worker's counters, in a registry of its own."""

    def __init__(self, slots: Slots) -> None:
        registry = self.registry = make_registry()
        self.calls = CallMetrics(registry)
        total = Gauge("crewmesh_worker_slots", "Runs that may go on at once.", registry=registry)
        total.set_function(lambda: slots.total)
        taken = Gauge("crewmesh_worker_slots_taken", "Runs that go on now.", registry=registry)
        taken.set_function(lambda: slots.taken)
        self.leases = Gauge(
            "crewmesh_worker_leases_held", "Leases that are renewed.", registry=registry
        )
        self.attached = Gauge(
            "crewmesh_worker_attached", "1 while a store sends leases.", registry=registry
        )
        self._attempts = Counter(
            "crewmesh_worker_attempts",
            "Attempts that have ended, by how.",
            ["outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "crewmesh_worker_attempt_duration_seconds",
            "From a lease's coming to its attempt's end being stored.",
            ["outcome"],
            registry=registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
        )
        self._events = Counter(
            "crewmesh_worker_events", "Events that the store has acknowledged.", registry=registry
        )
        self._lag = Histogram(
            "crewmesh_worker_event_append_lag_seconds",
            "From an event's making to the store's acknowledgement; the oldest of each batch.",
            registry=registry,
            buckets=DURATION_BUCKETS,
        )
        self._model_calls = Counter(
            "crewmesh_worker_model_calls",
            "Calls of models that have been answered.",
            ["provider"],
            registry=registry,
        )
        self._tokens = Counter(
            "crewmesh_worker_tokens",
            "Tokens that models have read (input) and written (output).",
            ["provider", "direction"],
            registry=registry,
        )
        self._cost = Counter(
            "crewmesh_worker_cost_usd", "What calls have cost.", ["provider"], registry=registry
        )
        self._unpriced = Counter(
            "crewmesh_worker_unpriced_model_calls",
            "Calls of models whose price isn't known.",
            ["provider"],
            registry=registry,
        )
        for outcome in _OUTCOMES.values():
            self._attempts.labels(outcome)

    def attempt_ended(self, how: str, seconds: float) -> None:
        """Count an attempt; `how` is its last event's type, or `lost`."""
        outcome = _OUTCOMES.get(how, _OTHER)
        self._attempts.labels(outcome).inc()
        self._seconds.labels(outcome).observe(seconds)

    def acknowledged(self, append: run_store_pb2.Append) -> None:
        """Count what the store has acknowledged, and how long it took."""
        self._events.inc(len(append.events))
        at = append.events[0].at
        self._lag.observe(max(0.0, time.time() - at.seconds - at.nanos / 1e9))
        for call in append.model_calls:
            self._count_call(call)

    def _count_call(self, call: run_store_pb2.ModelCall) -> None:
        provider = provider_of(call.model)
        provider = provider if provider in _PROVIDERS else _OTHER
        self._model_calls.labels(provider).inc()
        self._tokens.labels(provider, "input").inc(call.prompt_tokens)
        self._tokens.labels(provider, "output").inc(call.completion_tokens)
        if call.HasField("cost_micros"):
            self._cost.labels(provider).inc(call.cost_micros / 1e6)
        else:
            self._unpriced.labels(provider).inc()


def provider_of(model: str) -> str:
    """Return who serves a model: what is before its name's first slash, or all of it."""
    return model.partition("/")[0].lower()
