"""A store's services in memory, those that the gateway calls."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from uuid6 import uuid7

from crewmesh.common.errors import (
    NotFoundError,
    StateError,
    UnauthenticatedError,
    UnavailableError,
)
from crewmesh.v1 import (
    file_pb2,
    file_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    limit_pb2,
    limit_pb2_grpc,
    run_store_pb2,
    run_store_pb2_grpc,
)
from tests.conftest import API_KEY

OWNER = identity_pb2.Principal(
    user_id=str(uuid7()),
    email="owner@example.org",
    org_id=str(uuid7()),
    org_name="Example",
    role="owner",
    api_key_id=str(uuid7()),
    scopes=["*"],
)


PASSWORD = "a long enough password"


class FakeIdentities(identity_pb2_grpc.IdentityServiceServicer):
    """One owner, whose keys can be made and revoked."""

    def __init__(self) -> None:
        self.authentications = 0
        self.keys: dict[str, identity_pb2.ApiKey] = {}
        self.secrets: dict[str, str] = {API_KEY: OWNER.api_key_id}
        self.answering = asyncio.Event()
        self.answering.set()
        self.down = False
        self.role = OWNER.role
        self.refresh_tokens: set[str] = set()

    async def Authenticate(self, request: Any, context: Any) -> Any:
        self.authentications += 1
        await self.answering.wait()
        if self.down:
            raise UnavailableError("postgres at 10.1.2.3 is gone")
        if request.credential not in self.secrets:
            raise UnauthenticatedError("the API key is not valid")
        if not self.secrets[request.credential]:
            return identity_pb2.AuthenticateResponse(principal=_with_token())
        principal = identity_pb2.Principal()
        principal.CopyFrom(OWNER)
        principal.role = self.role
        principal.api_key_id = self.secrets[request.credential]
        return identity_pb2.AuthenticateResponse(principal=principal)

    async def SignIn(self, request: Any, context: Any) -> Any:
        if (request.email, request.password) != (OWNER.email, PASSWORD):
            raise UnauthenticatedError("the e-mail address or the password is wrong")
        return identity_pb2.SignInResponse(tokens=self._tokens())

    async def RefreshTokens(self, request: Any, context: Any) -> Any:
        if request.refresh_token not in self.refresh_tokens:
            raise UnauthenticatedError("the refresh token is not valid; sign in again")
        self.refresh_tokens.discard(request.refresh_token)
        return identity_pb2.RefreshTokensResponse(tokens=self._tokens())

    async def SignOut(self, request: Any, context: Any) -> Any:
        self.refresh_tokens.discard(request.refresh_token)
        return identity_pb2.SignOutResponse()

    def _tokens(self) -> identity_pb2.Tokens:
        access, refresh = uuid7().hex, uuid7().hex
        self.secrets[access] = ""
        self.refresh_tokens.add(refresh)
        return identity_pb2.Tokens(
            access_token=access, refresh_token=refresh, expires_in_seconds=600
        )

    async def CreateApiKey(self, request: Any, context: Any) -> Any:
        secret = f"cm_{uuid7().hex}"
        key = identity_pb2.ApiKey(id=str(uuid7()), name=request.name, prefix=secret[:8])
        key.created_at.GetCurrentTime()
        self.keys[key.id] = key
        self.secrets[secret] = key.id
        return identity_pb2.CreateApiKeyResponse(api_key=key, secret=secret)

    async def ListApiKeys(self, request: Any, context: Any) -> Any:
        return identity_pb2.ListApiKeysResponse(api_keys=self.keys.values())

    async def RevokeApiKey(self, request: Any, context: Any) -> Any:
        if request.id not in self.keys:
            raise NotFoundError("there is no such key")
        self.keys[request.id].revoked_at.GetCurrentTime()
        self.secrets = {s: key_id for s, key_id in self.secrets.items() if key_id != request.id}
        return identity_pb2.RevokeApiKeyResponse()


def _with_token() -> identity_pb2.Principal:
    principal = identity_pb2.Principal()
    principal.CopyFrom(OWNER)
    principal.api_key_id = ""
    return principal


class FakeFleet(run_store_pb2_grpc.RunStoreServiceServicer):
    """Says of the workers what tests want it to."""

    def __init__(self) -> None:
        self.answer = run_store_pb2.ListWorkersResponse()

    async def ListWorkers(self, request: Any, context: Any) -> Any:
        return self.answer


class FakeLimits(limit_pb2_grpc.LimitServiceServicer):
    """One organisation's limits, which only an owner may set, and what was asked by whom."""

    def __init__(self) -> None:
        self.limits = limit_pb2.Limits(max_queued=10_000)
        # As if no time ever passed.
        self.seconds_taken: Counter[str] = Counter()

    async def GetLimits(self, request: Any, context: Any) -> Any:
        return limit_pb2.GetLimitsResponse(limits=self.limits)

    async def SetLimits(self, request: Any, context: Any) -> Any:
        self.limits.CopyFrom(request.limits)
        return limit_pb2.SetLimitsResponse(limits=self.limits)

    async def CountRequests(self, request: Any, context: Any) -> Any:
        for count in request.counts:
            self.seconds_taken[count.subject] += count.seconds
        until_whole = [self.seconds_taken[count.subject] for count in request.counts]
        return limit_pb2.CountRequestsResponse(seconds_until_whole=until_whole)


class FakeFiles(file_pb2_grpc.FileServiceServicer):
    """Files in memory."""

    def __init__(self) -> None:
        self.datasets: dict[str, tuple[file_pb2.Dataset, bytes]] = {}
        self.artifacts: dict[str, tuple[file_pb2.Artifact, bytes]] = {}
        self.chunk_sizes: list[int] = []
        self.received = asyncio.Event()
        self.refuse_after: int | None = None
        self.broken_off = 0

    async def PutDataset(self, request_iterator: Any, context: Any) -> Any:
        header = None
        content = bytearray()
        ended = False
        try:
            async for request in request_iterator:
                if request.HasField("header"):
                    header = request.header
                elif request.HasField("end"):
                    ended = request.end.size_bytes == len(content)
                else:
                    content += request.chunk
                    self.chunk_sizes.append(len(request.chunk))
                    self.received.set()
                if self.refuse_after is not None and len(content) > self.refuse_after:
                    raise StateError("the quota is used up", reason="QUOTA")
            if not ended:
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        assert header is not None
        dataset = file_pb2.Dataset(
            id=str(uuid7()),
            name=header.name,
            media_type=header.media_type,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        dataset.created_at.GetCurrentTime()
        self.datasets[dataset.id] = (dataset, bytes(content))
        return file_pb2.PutDatasetResponse(dataset=dataset)

    async def ListDatasets(self, request: Any, context: Any) -> Any:
        datasets = [dataset for dataset, _ in reversed(self.datasets.values())]
        return file_pb2.ListDatasetsResponse(datasets=datasets[: request.page_size])

    async def GetDataset(self, request: Any, context: Any) -> Any:
        for dataset, _ in reversed(self.datasets.values()):
            if request.id_or_name in (dataset.id, dataset.name):
                return file_pb2.GetDatasetResponse(dataset=dataset)
        raise NotFoundError("there is no such dataset")

    async def ReadDataset(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.id not in self.datasets:
            raise NotFoundError("there is no such dataset")
        dataset, content = self.datasets[request.id]
        yield file_pb2.ReadDatasetResponse(header=dataset)
        for start in range(0, len(content), 65_536):
            yield file_pb2.ReadDatasetResponse(chunk=content[start : start + 65_536])

    async def DeleteDataset(self, request: Any, context: Any) -> Any:
        if self.datasets.pop(request.id, None) is None:
            raise NotFoundError("there is no such dataset")
        return file_pb2.DeleteDatasetResponse()

    def make_artifact(self, run_id: str, name: str, media_type: str, content: bytes) -> str:
        artifact = file_pb2.Artifact(
            id=str(uuid7()),
            run_id=run_id,
            name=name,
            media_type=media_type,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        artifact.created_at.GetCurrentTime()
        self.artifacts[artifact.id] = (artifact, content)
        return artifact.id

    async def ListArtifacts(self, request: Any, context: Any) -> Any:
        chosen = [a for a, _ in self.artifacts.values() if a.run_id == request.run_id]
        return file_pb2.ListArtifactsResponse(artifacts=chosen)

    async def ReadArtifact(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.id not in self.artifacts:
            raise NotFoundError("there is no such artifact")
        artifact, content = self.artifacts[request.id]
        yield file_pb2.ReadArtifactResponse(header=artifact)
        yield file_pb2.ReadArtifactResponse(chunk=content)
