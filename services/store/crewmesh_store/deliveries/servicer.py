"""crewmesh.v1.DeliveryService."""

from __future__ import annotations

from typing import Any, Final

from crewmesh.v1 import delivery_pb2, delivery_pb2_grpc
from crewmesh_store.deliveries.repository import DeliveryRepository
from crewmesh_store.runs.repository import RunRepository

_MAX_CLAIMS: Final = 100


class DeliveryServicer(delivery_pb2_grpc.DeliveryServiceServicer):
    """Hands out webhooks that are due, to workers."""

    def __init__(self, deliveries: DeliveryRepository, runs: RunRepository) -> None:
        self._deliveries = deliveries
        self._runs = runs

    async def ClaimDeliveries(
        self, request: delivery_pb2.ClaimDeliveriesRequest, context: Any
    ) -> delivery_pb2.ClaimDeliveriesResponse:
        claims = await self._deliveries.claim(
            min(request.limit, _MAX_CLAIMS), request.hold.ToTimedelta()
        )
        response = delivery_pb2.ClaimDeliveriesResponse()
        for claim in claims:
            response.deliveries.add(
                run=await self._runs.get(claim.run_id, claim.org_id, tasks=True),
                url=claim.url,
                secret=claim.secret,
                tries=claim.tries,
                policy_json=claim.policy_json,
            )
        return response

    async def ReportDelivery(
        self, request: delivery_pb2.ReportDeliveryRequest, context: Any
    ) -> delivery_pb2.ReportDeliveryResponse:
        await self._deliveries.report(request)
        return delivery_pb2.ReportDeliveryResponse()
