"""`python -m crewmesh.common.healthcheck TARGET`: say whether a service serves, for containers.

TARGET is a gRPC server's `host:port`, asked by the standard health service (with mutual TLS where
CREWMESH_TLS_DIR is set, as that service has it), or an http:// address,
which has to answer 200. The exit status is 0 when it serves; otherwise one line says why not.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crewmesh.common.mesh_tls import TlsDirectory, channel_credentials, server_name

TIMEOUT_SECONDS = 4.0


def fault_of(target: str) -> str:
    """Return why the service doesn't serve; empty when it does."""
    return _fault_of_http(target) if target.startswith("http://") else _fault_of_grpc(target)


def _fault_of_http(url: str) -> str:
    # Its own machine is never reached through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        answer = error.read(1000).decode("utf-8", errors="replace")
        return f"{url} answers {error.code}: {answer}"
    except OSError as error:
        return f"{url} can't be reached: {error}"


def _fault_of_grpc(address: str) -> str:
    try:
        opened = _open(address)
    except ValueError as error:
        return str(error)
    with opened as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(  # type: ignore[attr-defined]  # missing in its types
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS
            )
        except grpc.RpcError as error:
            return f"{address} can't be asked: {error.code().name}: {error.details()}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return f"{address} says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
    return ""


def _open(address: str) -> grpc.Channel:
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    directory = os.environ.get("CREWMESH_TLS_DIR")
    if not directory:
        return grpc.insecure_channel(address, options=options)
    # It asks its own service, as which it can show itself, too.
    files = TlsDirectory(Path(directory)).current()
    options.append(("grpc.ssl_target_name_override", server_name(files.certificate)))
    return grpc.secure_channel(address, channel_credentials(files), options=options)


def main() -> None:
    """Entry point of the command."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m crewmesh.common.healthcheck HOST:PORT | http://...")
    if fault := fault_of(sys.argv[1]):
        raise SystemExit(f"crewmesh: {fault}")


if __name__ == "__main__":
    main()
