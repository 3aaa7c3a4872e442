"""Whether a run may start, and its start."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from crewmesh.common.errors import InvalidInputError, NotFoundError, Violation
from crewmesh.common.grpc_server import rpc_errors
from crewmesh.common.identity import Identity, IdentitySigner
from crewmesh.v1 import agent_pb2, run_store_pb2, run_store_pb2_grpc
from crewmesh_worker.crews.catalogue import Catalogue
from crewmesh_worker.crews.definition import CrewDefinition
from crewmesh_worker.crews.inputs import dataset_inputs, validate_inputs
from crewmesh_worker.files import WorkerFiles
from crewmesh_worker.projects.project import Project
from crewmesh_worker.runs.executor import Executor
from crewmesh_worker.runs.slots import Slots

_STORE_SECONDS = 10.0


class Admission:
    """Checks what is asked for, records it in the store, and starts it here if it may."""

    def __init__(
        self,
        worker_id: str,
        store: run_store_pb2_grpc.RunStoreServiceAsyncStub,
        signer: IdentitySigner,
        catalogue: Catalogue,
        files: WorkerFiles,
        slots: Slots,
        executor: Executor,
        default_timeout_seconds: int,
        default_max_attempts: int,
    ) -> None:
        self._worker_id = worker_id
        self._store = store
        self._signer = signer
        self._catalogue = catalogue
        self._files = files
        self._slots = slots
        self.executor = executor
        self._default_timeout_seconds = default_timeout_seconds
        self._default_max_attempts = default_max_attempts

    async def admit(
        self, spec: agent_pb2.RunSpec, identity: Identity
    ) -> run_store_pb2.CreateRunResponse:
        """Record the run, and start it if the store leases it to this worker.

        Raises NotFoundError for an unknown crew, InvalidInputError with every fault found,
        ConflictError for an idempotency key that stands for another request.
        """
        definition = self._catalogue.get(spec.crew)
        checked = agent_pb2.RunSpec()
        checked.CopyFrom(spec)
        _check_limits(spec)
        checked.inputs_json = await self._check_inputs(definition, spec.inputs_json, identity)
        checked.timeout_seconds = spec.timeout_seconds or self._default_timeout_seconds
        checked.max_attempts = spec.max_attempts or self._default_max_attempts
        # A caller that goes away must not leave a lease that nobody carries out; nor does it
        # hear then why there is none.
        creating = asyncio.create_task(self._create(checked, definition, identity))
        creating.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(creating)

    async def _create(
        self, spec: agent_pb2.RunSpec, definition: CrewDefinition | Project, identity: Identity
    ) -> run_store_pb2.CreateRunResponse:
        can_start = self._slots.free > 0
        if can_start:
            self._slots.take()
        started = False
        try:
            asked_at = time.monotonic()
            request = run_store_pb2.CreateRunRequest(
                spec=spec,
                crew_version=definition.version,
                worker_id=self._worker_id if can_start else "",
            )
            with rpc_errors():
                response = await self._store.CreateRun(
                    request, metadata=self._signer.metadata(identity), timeout=_STORE_SECONDS
                )
            if response.HasField("lease"):
                self.executor.start(response.lease, asked_at)
                started = True
            return response
        finally:
            if can_start and not started:
                self._slots.give_back()

    async def _check_inputs(
        self, definition: CrewDefinition | Project, inputs_json: str, identity: Identity
    ) -> str:
        """Return the inputs with defaults filled in and datasets named by their ids."""
        inputs = validate_inputs(definition, _parse_inputs(inputs_json))
        for name in dataset_inputs(definition):
            if name in inputs:
                try:
                    dataset = await self._files.find_dataset(inputs[name], identity)
                except NotFoundError as error:
                    raise InvalidInputError(
                        "the inputs don't fit the crew",
                        violations=[Violation(f"inputs.{name}", error.message)],
                    ) from error
                inputs[name] = dataset.id
        return json.dumps(inputs)


def _parse_inputs(inputs_json: str) -> dict[str, Any]:
    try:
        inputs = json.loads(inputs_json or "{}")
    except ValueError as error:
        raise InvalidInputError(
            "inputs_json is not JSON", violations=[Violation("inputs_json", str(error))]
        ) from error
    if not isinstance(inputs, dict):
        raise InvalidInputError(
            "inputs are a JSON object", violations=[Violation("inputs", "not an object")]
        )
    return inputs


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
    if violations:
        raise InvalidInputError("the run can't be taken", violations=violations)
