"""A run's model calls: asked for before, settled after, while a budget holds for the run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from crewmesh.common.errors import DeadlineError, UnavailableError
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import IdentitySigner
from crewmesh.v1 import budget_pb2, budget_pb2_grpc, run_store_pb2, runner_pb2
from crewmesh_worker.runs.prices import PriceList

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CALL_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.25
# Between looks whether others have settled: at first, and at last.
_LOOK_SECONDS: Final = (0.05, 1.0)
_MICROS: Final = 1_000_000


@dataclass(frozen=True)
class Refusal:
    """Why a run may not call the model, and the event that tells of it, if there is one."""

    code: str
    message: str
    event: dict[str, Any] | None = None


class RunBudget:
    """Asks the store on behalf of one attempt, whose lease every request carries."""

    def __init__(
        self,
        lease: run_store_pb2.Lease,
        store: budget_pb2_grpc.BudgetServiceAsyncStub,
        signer: IdentitySigner,
        prices: PriceList,
    ) -> None:
        self._lease = lease
        self._store = store
        self._signer = signer
        self._prices = prices

    async def request(
        self, call: runner_pb2.CallRequest
    ) -> tuple[runner_pb2.CallVerdict, Refusal | None]:
        """Reserve what a call may consume; wait while others hold what would be enough.

        Raises StateError when the lease is another worker's by now.
        """
        request = await self._reservation(call)
        pause, longest = _LOOK_SECONDS
        while True:
            answer = await self._insist(lambda: self._reserve(request))
            if answer.verdict == budget_pb2.BUDGET_VERDICT_GRANTED:
                return runner_pb2.CallVerdict(
                    reservation_id=request.reservation_id,
                    completion_tokens=answer.completion_tokens,
                ), None
            if answer.verdict != budget_pb2.BUDGET_VERDICT_WAIT:
                refusal = _refusal(call, request, answer)
                return runner_pb2.CallVerdict(
                    refusal=refusal.message, refusal_code=refusal.code
                ), refusal
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def settle(self, settlement: runner_pb2.CallSettlement) -> None:
        """Count what a call consumed; all that it had reserved where nobody knows."""
        spent = None
        if not settlement.unknown:
            cost = await self._prices.cost(settlement.usage)
            spent = budget_pb2.Amount(tokens=settlement.usage.total_tokens, micros=cost or 0)
        request = budget_pb2.SettleBudgetRequest(
            run_id=self._lease.run.id,
            epoch=self._lease.epoch,
            reservation_id=settlement.reservation_id,
            spent=spent,
        )
        await self._insist(lambda: self._settle(request))

    async def _reservation(self, call: runner_pb2.CallRequest) -> budget_pb2.ReserveBudgetRequest:
        bound = await self._prices.bound(call.model, call.prompt_tokens)
        return budget_pb2.ReserveBudgetRequest(
            run_id=self._lease.run.id,
            epoch=self._lease.epoch,
            reservation_id=str(uuid.uuid4()),
            prompt=budget_pb2.Amount(
                tokens=call.prompt_tokens, micros=bound.prompt_micros if bound else 0
            ),
            completion_tokens=call.completion_tokens,
            min_completion_tokens=call.min_completion_tokens,
            completion_micros_per_million=bound.completion_micros_per_million if bound else None,
        )

    async def _reserve(
        self, request: budget_pb2.ReserveBudgetRequest
    ) -> budget_pb2.ReserveBudgetResponse:
        return await self._store.ReserveBudget(
            request, metadata=self._signer.metadata(), timeout=_CALL_SECONDS
        )

    async def _settle(
        self, request: budget_pb2.SettleBudgetRequest
    ) -> budget_pb2.SettleBudgetResponse:
        return await self._store.SettleBudget(
            request, metadata=self._signer.metadata(), timeout=_CALL_SECONDS
        )

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until the store answers: the attempt is stopped when its lease can't be kept."""
        while True:
            try:
                with rpc_errors():
                    return await ask()
            except (UnavailableError, DeadlineError) as error:
                log.warning("a model call waits for the store", reason=error.message)
                await asyncio.sleep(_RETRY_SECONDS)


def _refusal(
    call: runner_pb2.CallRequest,
    request: budget_pb2.ReserveBudgetRequest,
    answer: budget_pb2.ReserveBudgetResponse,
) -> Refusal:
    if answer.verdict == budget_pb2.BUDGET_VERDICT_UNPRICED:
        return Refusal(
            "price_unknown",
            f"a budget in USD holds for this run, and the price of {call.model} isn't known: "
            "add it to CREWMESH_PRICES, or use another model",
        )
    budget = answer.budget
    whose = "run" if answer.of_run else "api_key" if budget.api_key_id else "tenant"
    limits: dict[str, Any] = {}
    if budget.limit.HasField("max_tokens"):
        limits |= {"max_tokens": budget.limit.max_tokens, "spent_tokens": budget.spent.tokens}
    if budget.limit.HasField("max_micros"):
        limits |= {
            "max_usd": budget.limit.max_micros / _MICROS,
            "spent_usd": budget.spent.micros / _MICROS,
        }
    period = budget_pb2.BudgetPeriod.Name(budget.period).removeprefix("BUDGET_PERIOD_").lower()
    needed = request.prompt.tokens + request.min_completion_tokens
    event = {"scope": whose, "period": period, **limits, "needed_tokens": needed}
    event["model"] = call.model
    return Refusal("budget_exceeded", _told(whose, period, limits), event)


def _told(whose: str, period: str, limits: dict[str, Any]) -> str:
    names = {"run": "the run's budget", "api_key": "the API key's budget", "tenant": "the budget"}
    parts = []
    if "max_tokens" in limits:
        parts.append(f"{limits['spent_tokens']:,} of {limits['max_tokens']:,} tokens are spent")
    if "max_usd" in limits:
        parts.append(f"{limits['spent_usd']:.6f} of {limits['max_usd']:.6f} USD are spent")
    when = "" if period == "total" else f" of the {period}"
    return f"{names[whose]}{when} has no room for another model call: {', '.join(parts)}"
