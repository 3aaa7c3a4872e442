"""What a run's model calls consumed, and what that cost."""

from __future__ import annotations

import json
from typing import Any, Final

from crewmesh.v1 import run_pb2, run_store_pb2, runner_pb2
from crewmesh_worker.runs.prices import PriceList

_MICROS: Final = 1_000_000


class UsageMeter:
    """Adds up an attempt's calls to what earlier attempts had consumed."""

    def __init__(self, so_far: run_pb2.Usage, prices: PriceList) -> None:
        self._total = run_pb2.Usage()
        self._total.CopyFrom(so_far)
        self._prices = prices

    async def meter(self, payload_json: str) -> tuple[str, run_store_pb2.ModelCall | None]:
        """Return an llm.completed's payload with its cost, and the call that it tells of.

        A payload that doesn't tell of one, a runner's mistake, is returned as it is.
        """
        try:
            payload = json.loads(payload_json)
            usage = _usage_from(payload)
        except (ValueError, TypeError, KeyError, AttributeError):
            return payload_json, None
        cost = await self._prices.cost(usage)
        call = run_store_pb2.ModelCall(
            model=usage.model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            cost_micros=cost,
        )
        self._add(call)
        payload["cost_usd"] = None if cost is None else cost / _MICROS
        return json.dumps(payload, ensure_ascii=False), call

    def total(self) -> dict[str, Any]:
        """Return what the run has consumed in all, as its last event tells it."""
        total = self._total
        return {
            "prompt_tokens": total.prompt_tokens,
            "completion_tokens": total.completion_tokens,
            "total_tokens": total.total_tokens,
            "model_calls": total.model_calls,
            "cost_usd": total.cost_micros / _MICROS,
            "unpriced_calls": total.unpriced_calls,
        }

    def _add(self, call: run_store_pb2.ModelCall) -> None:
        self._total.prompt_tokens += call.prompt_tokens
        self._total.completion_tokens += call.completion_tokens
        self._total.total_tokens += call.total_tokens
        self._total.model_calls += 1
        self._total.cost_micros += call.cost_micros
        self._total.unpriced_calls += not call.HasField("cost_micros")


def _usage_from(payload: dict[str, Any]) -> runner_pb2.CallUsage:
    usage = payload["usage"]
    return runner_pb2.CallUsage(
        model=str(payload["model"])[:200],
        prompt_tokens=usage["prompt_tokens"],
        completion_tokens=usage["completion_tokens"],
        total_tokens=usage["total_tokens"],
        cached_tokens=usage.get("cached_tokens", 0),
        cache_creation_tokens=usage.get("cache_creation_tokens", 0),
    )
