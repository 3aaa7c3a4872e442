"""Posts runs that have ended to the webhooks that they were started with."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Final

import orjson
import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import IdentitySigner
from crewmesh.common.run_json import STATUS_NAMES, run_json
from crewmesh.v1 import delivery_pb2, delivery_pb2_grpc
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.webhooks.sending import Receipt, send
from crewmesh_worker.webhooks.signing import signed_headers

log = structlog.get_logger(__name__)

_CALL_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 1.0
_AT_ONCE: Final = 8
# Longer than a try takes: what isn't reported by then was lost with its worker.
_HOLD: Final = timedelta(seconds=30)
_GONE: Final = 410


class Deliverer:
    """Claims webhooks that are due, posts them, and reports what came of it."""

    def __init__(
        self,
        store: delivery_pb2_grpc.DeliveryServiceAsyncStub,
        signer: IdentitySigner,
        private_network: bool,
    ) -> None:
        """`private_network` is the operator's word; tenants' policies come with deliveries."""
        self._store = store
        self._signer = signer
        self._private_network = private_network
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                try:
                    claimed = await self._claim()
                except CrewmeshError as error:
                    log.warning("can't ask for webhooks that are due", reason=error.message)
                    claimed = 0
                if claimed == 0:
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _claim(self) -> int:
        """Begin to deliver what is due, as far as there is room; return how many."""
        if len(self._tasks) >= _AT_ONCE:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        request = delivery_pb2.ClaimDeliveriesRequest(limit=_AT_ONCE - len(self._tasks))
        request.hold.FromTimedelta(_HOLD)
        with rpc_errors():
            response = await self._store.ClaimDeliveries(
                request, metadata=self._signer.metadata(), timeout=_CALL_SECONDS
            )
        for delivery in response.deliveries:
            task = asyncio.create_task(self._deliver(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(response.deliveries)

    async def _deliver(self, delivery: delivery_pb2.Delivery) -> None:
        receipt = await self._send(delivery)
        run_id, tries = delivery.run.id, delivery.tries
        log.info("webhook", run_id=run_id, tries=tries, status=receipt.status)
        try:
            await self._report(delivery, receipt)
        except CrewmeshError as error:
            log.warning("a webhook will be sent again", run_id=run_id, reason=error.message)

    async def _send(self, delivery: delivery_pb2.Delivery) -> Receipt:
        try:
            policy = NetworkPolicy.of(
                json.loads(delivery.policy_json or "{}"), private_network=self._private_network
            )
        except ToolError as error:
            return Receipt(0, str(error))
        return await send(delivery.url, *_signed(delivery), policy)

    async def _report(self, delivery: delivery_pb2.Delivery, receipt: Receipt) -> None:
        report = delivery_pb2.ReportDeliveryRequest(
            run_id=delivery.run.id,
            tries=delivery.tries,
            status=receipt.status,
            error="" if receipt.delivered else receipt.detail[:500],
            final=receipt.refused or receipt.status == _GONE,
        )
        with rpc_errors():
            await self._store.ReportDelivery(
                report, metadata=self._signer.metadata(), timeout=_CALL_SECONDS
            )


def _signed(delivery: delivery_pb2.Delivery) -> tuple[bytes, dict[str, str]]:
    """Return the body and its headers; the id is the same in every try."""
    run = delivery.run
    body = orjson.dumps(
        {"type": f"run.{STATUS_NAMES[run.status]}", "data": _without_state(run_json(run))}
    )
    return body, signed_headers(delivery.secret, f"run_{run.id}", int(time.time()), body)


def _without_state(run: dict[str, object]) -> dict[str, object]:
    """Leave out what changes from try to try: the same id has the same content."""
    return {name: value for name, value in run.items() if name != "webhook"}
