"""externalscaler.ExternalScaler: KEDA asks how many workers are needed."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from crewmesh.common.errors import InvalidInputError, UnavailableError
from crewmesh_store.scaling.demand import Demand, Trigger
from externalscaler import externalscaler_pb2 as keda
from externalscaler import externalscaler_pb2_grpc

# Between looks for a change that a stream is to tell of.
_LOOK_SECONDS: Final = 2.0
# KEDA passes a trigger's metadata on as it is. What it has read from a worker's environment,
# and so from a Secret, keeps the name that ends so.
_TOKEN_KEYS: Final = ("tokenFromEnv", "token")


class ScalerServicer(externalscaler_pb2_grpc.ExternalScalerServicer):
    """Answers whoever has the token; `read` returns what there is to do."""

    def __init__(self, token: str, read: Callable[[], Awaitable[Demand]]) -> None:
        self._token = token.encode()
        self._read = read

    async def IsActive(self, request: keda.ScaledObjectRef, context: Any) -> keda.IsActiveResponse:
        await self._trigger(request, context)
        return keda.IsActiveResponse(result=(await self._demand(context)).active)

    async def StreamIsActive(
        self, request: keda.ScaledObjectRef, context: Any
    ) -> AsyncIterator[keda.IsActiveResponse]:
        await self._trigger(request, context)
        told: bool | None = None
        while True:
            active = (await self._demand(context)).active
            if active != told:
                yield keda.IsActiveResponse(result=active)
                told = active
            await asyncio.sleep(_LOOK_SECONDS)

    async def GetMetricSpec(
        self, request: keda.ScaledObjectRef, context: Any
    ) -> keda.GetMetricSpecResponse:
        trigger = await self._trigger(request, context)
        spec = keda.MetricSpec(
            metricName=trigger.name,
            targetSize=max(1, round(trigger.target)),
            targetSizeFloat=trigger.target,
        )
        return keda.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(
        self, request: keda.GetMetricsRequest, context: Any
    ) -> keda.GetMetricsResponse:
        trigger = await self._trigger(request.scaledObjectRef, context)
        value = (await self._demand(context)).value_of(trigger.metric)
        metric = keda.MetricValue(
            metricName=trigger.name, metricValue=round(value), metricValueFloat=value
        )
        return keda.GetMetricsResponse(metricValues=[metric])

    async def _trigger(self, ref: keda.ScaledObjectRef, context: Any) -> Trigger:
        """Return what the trigger is about, or abort the call of one that may not ask."""
        given = next(
            (ref.scalerMetadata[key] for key in _TOKEN_KEYS if key in ref.scalerMetadata), ""
        )
        if not hmac.compare_digest(given.encode(), self._token):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "the trigger's metadata has no tokenFromEnv or token that equals "
                "the store's CREWMESH_SCALER_TOKEN",
            )
        try:
            return Trigger.of(ref.scalerMetadata)
        except InvalidInputError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            raise

    async def _demand(self, context: Any) -> Demand:
        try:
            return await self._read()
        except UnavailableError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
            raise
