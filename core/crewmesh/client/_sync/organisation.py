# Made from the file of the same name in _async by core/make_sync_client.py.
"""What an organisation may use, used, and did; and how the mesh is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from crewmesh.client import protocol
from crewmesh.client._sync.resource import Resource, every
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


class LimitsResource(Resource):
    """How much may run at once."""

    def get(self) -> Limits:
        """Return the organisation's limits."""
        return self._transport.call(Limits, protocol.get("/v1/limits"))

    def set(self, limits: Json) -> Limits:
        """Replace all limits: `max_running`, `max_queued`, `crews`, `max_requests_per_minute`."""
        return self._transport.call(Limits, protocol.put("/v1/limits", limits))


class BudgetsResource(Resource):
    """What may be spent."""

    def list(self) -> Budgets:
        """Return all budgets, with what is gone of each."""
        return self._transport.call(Budgets, protocol.get("/v1/budgets"))

    def set(self, budgets: Sequence[Json]) -> Budgets:
        """Replace all budgets."""
        body = {"items": [dict(budget) for budget in budgets]}
        return self._transport.call(Budgets, protocol.put("/v1/budgets", body))


class PolicyResource(Resource):
    """What the organisation's runs may use."""

    def get(self) -> Policy:
        """Return the whole policy; its `raw` can be changed and set."""
        return self._transport.call(Policy, protocol.get("/v1/policy"))

    def set(self, policy: Json) -> Policy:
        """Replace the policy; what it leaves out allows everything public."""
        return self._transport.call(Policy, protocol.put("/v1/policy", policy))


class SecretsResource(Resource):
    """Keys, such as those of models, that runs find in their environment."""

    def list(self) -> Secrets:
        """Return what may be known of all secrets."""
        return self._transport.call(Secrets, protocol.get("/v1/secrets"))

    def get(self, name: str) -> Secret:
        """Return what may be known of a secret."""
        return self._transport.call(Secret, protocol.get(_secret(name)))

    def set(self, name: str, value: str) -> Secret:
        """Set a secret; attempts that begin from now on find it."""
        return self._transport.call(Secret, protocol.put(_secret(name), {"value": value}))

    def delete(self, name: str) -> None:
        """Remove a secret."""
        self._transport.send(protocol.delete(_secret(name)))


class AuditResource(Resource):
    """Who did what."""

    def list(
        self, *, order: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> AuditPage:
        """Return one page of entries, the newest first, or as they happened with `asc`."""
        query = protocol.get("/v1/audit", order=order, limit=limit, cursor=cursor)
        return self._transport.call(AuditPage, query)

    def iterate(self, *, order: str | None = None) -> Iterator[AuditEntry]:
        """Yield all entries."""
        return every(lambda cursor: self.list(order=order, limit=200, cursor=cursor))


class MeshResource(Resource):
    """What is used, the workers, and whether all is well."""

    def usage(
        self,
        *,
        group_by: Sequence[str] = (),
        after: datetime | str | None = None,
        before: datetime | str | None = None,
    ) -> UsageReport:
        """Return what model calls consumed, grouped by any of crew, model and day."""
        query = {"group_by": ",".join(group_by) or None, "from": after, "to": before}
        return self._transport.call(UsageReport, protocol.get("/v1/usage", **query))

    def workers(self) -> Fleet:
        """Return the attached workers, and the organisation's queue."""
        return self._transport.call(Fleet, protocol.get("/v1/workers"))

    def health(self) -> Health:
        """Return when the gateway answers at all."""
        return self._transport.call(Health, protocol.get("/healthz"))

    def readiness(self) -> Readiness:
        """Return the state of each of the gateway's dependencies."""
        response = self._transport.answer_of(protocol.get("/readyz"), 200, 503)
        return parse(Readiness, response.content)

    def info(self) -> ServerInfo:
        """Return what the mesh says of itself: its version."""
        return self._transport.call(ServerInfo, protocol.get("/openapi.json"))


def _secret(name: str) -> str:
    return f"/v1/secrets/{segment(name)}"
