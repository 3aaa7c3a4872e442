"""crewmesh.v1.TenantService."""

from __future__ import annotations

import re
from typing import Any

from crewmesh.common.errors import InvalidInputError, Violation
from crewmesh.common.grpc_server import caller
from crewmesh.common.policy import parse_policy
from crewmesh.v1 import tenant_pb2, tenant_pb2_grpc
from crewmesh_store.tenants.repository import TenantRepository

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
# They would change what runs in a run's process, or where it finds things.
_NOT_FOR_TENANTS = re.compile(
    r"PATH|HOME|TMPDIR|TZ|SHELL|USER|PYTHON.*|LD_.*|DYLD_.*|MALLOC_.*|GLIBC_.*|OTEL_.*|SSL_.*"
    r"|CREWAI_.*|CREWMESH_.*|OMP_.*|OPENBLAS_.*|(HTTP|HTTPS|ALL|NO|FTP)_PROXY|REQUESTS_CA_BUNDLE"
    r"|CURL_CA_BUNDLE|ANONYMIZED_TELEMETRY"
)
_MAX_VALUE_BYTES = 8_192


class TenantServicer(tenant_pb2_grpc.TenantServiceServicer):
    """Secrets and policies, over gRPC."""

    def __init__(self, tenants: TenantRepository) -> None:
        self._tenants = tenants

    async def PutSecret(
        self, request: tenant_pb2.PutSecretRequest, context: Any
    ) -> tenant_pb2.PutSecretResponse:
        _check_secret(request.name, request.value)
        secret = await self._tenants.put_secret(caller(), request.name, request.value)
        return tenant_pb2.PutSecretResponse(secret=secret)

    async def ListSecrets(
        self, request: tenant_pb2.ListSecretsRequest, context: Any
    ) -> tenant_pb2.ListSecretsResponse:
        org_id = caller().require_org()
        return tenant_pb2.ListSecretsResponse(secrets=await self._tenants.list_secrets(org_id))

    async def GetSecret(
        self, request: tenant_pb2.GetSecretRequest, context: Any
    ) -> tenant_pb2.GetSecretResponse:
        org_id = caller().require_org()
        secret = await self._tenants.get_secret(org_id, request.name)
        return tenant_pb2.GetSecretResponse(secret=secret)

    async def DeleteSecret(
        self, request: tenant_pb2.DeleteSecretRequest, context: Any
    ) -> tenant_pb2.DeleteSecretResponse:
        org_id = caller().require_org()
        await self._tenants.delete_secret(org_id, request.name)
        return tenant_pb2.DeleteSecretResponse()

    async def GetPolicy(
        self, request: tenant_pb2.GetPolicyRequest, context: Any
    ) -> tenant_pb2.GetPolicyResponse:
        return await self._tenants.get_policy(caller().require_org())

    async def PutPolicy(
        self, request: tenant_pb2.PutPolicyRequest, context: Any
    ) -> tenant_pb2.PutPolicyResponse:
        policy = parse_policy(request.policy_json).model_dump_json()
        await self._tenants.put_policy(caller(), policy)
        return tenant_pb2.PutPolicyResponse(policy_json=policy)


def _check_secret(name: str, value: str) -> None:
    violations = []
    if not _NAME.fullmatch(name):
        violations.append(
            Violation("name", "an environment variable: capitals, digits and _, such as MY_API_KEY")
        )
    elif _NOT_FOR_TENANTS.fullmatch(name):
        violations.append(Violation("name", "it would change how runs work, so it isn't yours"))
    if not value or "\x00" in value or len(value.encode()) > _MAX_VALUE_BYTES:
        violations.append(Violation("value", f"1 to {_MAX_VALUE_BYTES} bytes without NUL"))
    if violations:
        raise InvalidInputError("the secret can't be kept", violations=violations)
