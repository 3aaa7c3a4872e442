"""What an organisation may use, used, and did; and how the mesh is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from crewmesh.client import protocol
from crewmesh.client._async.resource import AsyncResource, every
from crewmesh.client.models import (
    AuditEntry,
    AuditPage,
    Budgets,
    Fleet,
    Health,
    Json,
    Limits,
    Policy,
    Readiness,
    Secret,
    Secrets,
    ServerInfo,
    UsageReport,
    parse,
)
from crewmesh.client.protocol import segment


class AsyncLimitsResource(AsyncResource):
    """How much may run at once."""

    async def get(self) -> Limits:
        """Return the organisation's limits."""
        return await self._transport.call(Limits, protocol.get("/v1/limits"))

    async def set(self, limits: Json) -> Limits:
        """Replace all limits: `max_running`, `max_queued`, `crews`, `max_requests_per_minute`."""
        return await self._transport.call(Limits, protocol.put("/v1/limits", limits))


class AsyncBudgetsResource(AsyncResource):
    """What may be spent."""

    async def list(self) -> Budgets:
        """Return all budgets, with what is gone of each."""
        return await self._transport.call(Budgets, protocol.get("/v1/budgets"))

    async def set(self, budgets: Sequence[Json]) -> Budgets:
        """Replace all budgets."""
        body = {"items": [dict(budget) for budget in budgets]}
        return await self._transport.call(Budgets, protocol.put("/v1/budgets", body))


class AsyncPolicyResource(AsyncResource):
    """What the organisation's runs may use."""

    async def get(self) -> Policy:
        """Return the whole policy; its `raw` can be changed and set."""
        return await self._transport.call(Policy, protocol.get("/v1/policy"))

    async def set(self, policy: Json) -> Policy:
        """Replace the policy; what it leaves out allows everything public."""
        return await self._transport.call(Policy, protocol.put("/v1/policy", policy))


class AsyncSecretsResource(AsyncResource):
    """Keys, such as those of models, that runs find in their environment."""

    async def list(self) -> Secrets:
        """Return what may be known of all secrets."""
        return await self._transport.call(Secrets, protocol.get("/v1/secrets"))

    async def get(self, name: str) -> Secret:
        """Return what may be known of a secret."""
        return await self._transport.call(Secret, protocol.get(_secret(name)))

    async def set(self, name: str, value: str) -> Secret:
        """Set a secret; attempts that begin from now on find it."""
        return await self._transport.call(Secret, protocol.put(_secret(name), {"value": value}))

    async def delete(self, name: str) -> None:
        """Remove a secret."""
        await self._transport.send(protocol.delete(_secret(name)))


class AsyncAuditResource(AsyncResource):
    """Who did what."""

    async def list(
        self, *, order: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> AuditPage:
        """Return one page of entries, the newest first, or as they happened with `asc`."""
        query = protocol.get("/v1/audit", order=order, limit=limit, cursor=cursor)
        return await self._transport.call(AuditPage, query)

    def iterate(self, *, order: str | None = None) -> AsyncIterator[AuditEntry]:
        """Yield all entries."""
        return every(lambda cursor: self.list(order=order, limit=200, cursor=cursor))


class AsyncMeshResource(AsyncResource):
    """What is used, the workers, and whether all is well."""

    async def usage(
        self,
        *,
        group_by: Sequence[str] = (),
        after: datetime | str | None = None,
        before: datetime | str | None = None,
    ) -> UsageReport:
        """Return what model calls consumed, grouped by any of crew, model and day."""
        query = {"group_by": ",".join(group_by) or None, "from": after, "to": before}
        return await self._transport.call(UsageReport, protocol.get("/v1/usage", **query))

    async def workers(self) -> Fleet:
        """Return the attached workers, and the organisation's queue."""
        return await self._transport.call(Fleet, protocol.get("/v1/workers"))

    async def health(self) -> Health:
        """Return when the gateway answers at all."""
        return await self._transport.call(Health, protocol.get("/healthz"))

    async def readiness(self) -> Readiness:
        """Return the state of each of the gateway's dependencies."""
        response = await self._transport.answer_of(protocol.get("/readyz"), 200, 503)
        return parse(Readiness, response.content)

    async def info(self) -> ServerInfo:
        """Return what the mesh says of itself: its version."""
        return await self._transport.call(ServerInfo, protocol.get("/openapi.json"))


def _secret(name: str) -> str:
    return f"/v1/secrets/{segment(name)}"
