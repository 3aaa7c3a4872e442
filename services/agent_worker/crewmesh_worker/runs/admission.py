"""Whether a run may start, and its start."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from typing import Any

from crewmesh.common.documents.json_text import read_value
from crewmesh.common.errors import (
    CrewmeshError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    Violation,
)
from crewmesh.common.grpc_server import request_metadata, rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.common.policy import Policy
from crewmesh.common.tracing import traceparent
from crewmesh.v1 import agent_pb2, run_pb2, run_store_pb2, run_store_pb2_grpc
from crewmesh_worker import clock
from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.crews.inputs import dataset_inputs, validate_inputs
from crewmesh_worker.crews.library import CrewLibrary
from crewmesh_worker.crews.sources import CrewVersion
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.projects.project import Project
from crewmesh_worker.runs.executor import Executor
from crewmesh_worker.runs.policies import PolicyInForce, TenantPolicies
from crewmesh_worker.runs.runners import RunSettings
from crewmesh_worker.runs.slots import Slots
from crewmesh_worker.tools.network.errors import RefusedError
from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.tools.network.urls import parse_url

_STORE_SECONDS = 10.0
_MAX_MODELS = 20
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,199}")


class Admission:
    """Checks what is asked for, records it in the store, and starts it here if it may."""

    def __init__(
        self,
        worker_id: str,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
        crews: CrewLibrary,
        files: WorkerFiles,
        slots: Slots,
        executor: Executor,
        policies: TenantPolicies,
        settings: RunSettings,
        default_timeout_seconds: int,
        default_max_attempts: int,
    ) -> None:
        self._worker_id = worker_id
        self._store = store
        self._signer = signer
        self._crews = crews
        self._files = files
        self._slots = slots
        self.executor = executor
        self._policies = policies
        self._settings = settings
        self._default_timeout_seconds = default_timeout_seconds
        self._default_max_attempts = default_max_attempts

    async def admit(
        self, spec: agent_pb2.RunSpec, identity: Identity
    ) -> run_store_pb2.CreateRunResponse:
        """Record the run, and start it if the store leases it to this worker.

        Raises NotFoundError for an unknown crew, StateError (PROJECT_BROKEN) for a project that
        can't be run, InvalidInputError with every fault found,
        ForbiddenError (POLICY_DENIED) for what the tenant's policy doesn't allow, ConflictError
        for an idempotency key that stands for another request.
        """
        # From here on it is this version's run, whatever is put under its name.
        crew = await self._crews.get(spec.crew, "", identity.for_run())
        _check_limits(spec)
        policy = await self._policies.known(identity.for_run())
        while True:
            try:
                return await self._admit_by(policy, spec, crew, identity)
            except CrewmeshError as error:
                if error.reason not in {"POLICY_DENIED", "POLICY_CHANGED"}:
                    raise
                newest = await self._policies.ask(identity.for_run())
                if newest == policy:
                    raise
                policy = newest

    async def _admit_by(
        self, policy: PolicyInForce, spec: agent_pb2.RunSpec, crew: CrewVersion, identity: Identity
    ) -> run_store_pb2.CreateRunResponse:
        definition = crew.runnable
        checked = agent_pb2.RunSpec()
        checked.CopyFrom(spec)
        apply_policy(policy.policy, checked, definition, self._settings)
        checked.inputs_json = await self.check_inputs(definition, spec.inputs_json, identity)
        checked.timeout_seconds = spec.timeout_seconds or self._default_timeout_seconds
        checked.max_attempts = spec.max_attempts or self._default_max_attempts
        # A caller that goes away must not leave a lease that nobody carries out; nor does it
        # hear then why there is none.
        creating = asyncio.create_task(self._create(checked, policy, crew, identity))
        creating.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(creating)

    async def _create(
        self, spec: agent_pb2.RunSpec, policy: PolicyInForce, crew: CrewVersion, identity: Identity
    ) -> run_store_pb2.CreateRunResponse:
        can_start = self._slots.free > 0
        if can_start:
            self._slots.take()
        started = False
        try:
            asked_at = clock.now()
            request = run_store_pb2.CreateRunRequest(
                spec=spec,
                crew_version=crew.version,
                worker_id=self._worker_id if can_start else "",
                policy_as_of=policy.as_of,
                traceparent=traceparent(),
            )
            with rpc_errors():
                response = await self._store.CreateRun(
                    request,
                    metadata=(*self._signer.metadata(identity), *request_metadata()),
                    timeout=_STORE_SECONDS,
                )
            if response.HasField("lease"):
                self.executor.start(response.lease, asked_at)
                started = True
            return response
        finally:
            if can_start and not started:
                self._slots.give_back()

    async def wait_for_end(self, run_id: str, seconds: float, identity: Identity) -> run_pb2.Run:
        """Return the run as it is when it has ended, or when the time is up."""
        end = time.monotonic() + seconds
        # The store needn't be asked to wait for a run that is executed here.
        await self.executor.wait_for(run_id, seconds)
        request = agent_pb2.GetRunRequest(run_id=run_id)
        request.wait.FromMilliseconds(max(0, int((end - time.monotonic()) * 1000)))
        with rpc_errors():
            response = await self._store.GetRun(
                request,
                metadata=self._signer.metadata(identity.for_run()),
                timeout=seconds + _STORE_SECONDS,
            )
        return response.run

    async def check_inputs(
        self, definition: CrewDefinition | Project, inputs_json: str, identity: Identity
    ) -> str:
        """Return the inputs with defaults filled in and datasets named by their ids.

        Raises InvalidInputError with every fault found.
        """
        inputs = validate_inputs(definition, _parse_inputs(inputs_json))
        for name in dataset_inputs(definition):
            if name in inputs:
                try:
                    dataset = await self._files.find_dataset(inputs[name], identity.for_run())
                except NotFoundError as error:
                    raise InvalidInputError(
                        "the inputs don't fit the crew",
                        violations=[Violation(f"inputs.{name}", error.message)],
                    ) from error
                inputs[name] = dataset.id
        return json.dumps(inputs)


def apply_policy(
    policy: Policy,
    spec: agent_pb2.RunSpec,
    definition: CrewDefinition | Project,
    settings: RunSettings,
) -> None:
    """Lower the run's budget to what the policy grants a run.

    Raises ForbiddenError (POLICY_DENIED) with every model and tool that it doesn't allow, and
    the webhook's host if it's none of those allowed.
    """
    choice = settings.choose(definition, spec.models, policy.models.default)
    faults = policy.faults(choice.all, choice.tools)
    if spec.HasField("webhook"):
        faults += _webhook_faults(spec.webhook, policy.hosts.allowed)
    if faults:
        raise ForbiddenError(
            "your organisation's policy doesn't allow this run: "
            + "; ".join(fault.message for fault in faults),
            reason="POLICY_DENIED",
            violations=faults,
        )
    most = policy.run_budget
    if most.max_tokens is not None:
        given = spec.budget.max_tokens if spec.budget.HasField("max_tokens") else most.max_tokens
        spec.budget.max_tokens = min(given, most.max_tokens)
    if most.max_usd is not None:
        most_micros = int(most.max_usd * 1_000_000)
        given = spec.budget.max_micros if spec.budget.HasField("max_micros") else most_micros
        spec.budget.max_micros = min(given, most_micros)


def _parse_inputs(inputs_json: str) -> dict[str, Any]:
    inputs = read_value(inputs_json or "{}", "inputs")
    if not isinstance(inputs, dict):
        raise InvalidInputError(
            "inputs are a JSON object", violations=[Violation("inputs", "not an object")]
        )
    return inputs


def _webhook_faults(
    webhook: agent_pb2.Webhook, allowed: Sequence[str] | None = None
) -> list[Violation]:
    """Return what shows before the run has ended; which addresses are reached is judged then.

    `allowed` are the tenant's hosts, None for every one.
    """
    violations = []
    if len(webhook.url) > 2000:
        violations.append(Violation("webhook.url", "at most 2000 characters"))
    if len(webhook.secret) > 500:
        violations.append(Violation("webhook.secret", "at most 500 characters"))
    try:
        hosts = {"allowed": None if allowed is None else list(allowed), "private": True}
        policy = NetworkPolicy.of({"hosts": hosts}, private_network=True)
        policy.check_target(parse_url(webhook.url))
    except RefusedError as error:
        violations.append(Violation("webhook.url", str(error)))
    return violations


def _check_limits(spec: agent_pb2.RunSpec) -> None:
    violations = []
    if not -100 <= spec.priority <= 100:
        violations.append(Violation("priority", "-100 to 100"))
    if spec.timeout_seconds > 86_400:
        violations.append(Violation("timeout_seconds", "at most 86400"))
    if spec.max_attempts > 20:
        violations.append(Violation("max_attempts", "at most 20"))
    if len(spec.idempotency_key) > 255:
        violations.append(Violation("idempotency_key", "at most 255 characters"))
    if len(spec.session_id) > 255:
        violations.append(Violation("session_id", "at most 255 characters"))
    if len(spec.models) > _MAX_MODELS:
        violations.append(Violation("models", f"at most {_MAX_MODELS}"))
    violations += [
        Violation("models", f"{name[:64]!r} is no name of a model")
        for name in spec.models
        if not _MODEL_NAME.fullmatch(name)
    ]
    limits = [value for _, value in spec.budget.ListFields()]
    if spec.HasField("budget") and not all(0 < limit < 2**63 for limit in limits):
        violations.append(Violation("budget", "limits are above 0"))
    if spec.HasField("webhook"):
        violations += _webhook_faults(spec.webhook)
    if violations:
        raise InvalidInputError("the run can't be taken", violations=violations)
