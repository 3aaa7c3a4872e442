"""Processes that are forked from one that uses gRPC, as runners' parents are."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

FORKED_THREADS = """
import asyncio, importlib, json, os, sys

importlib.import_module(sys.argv[1])
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from crewmesh.common.grpc_client import open_channel
from crewmesh.common.grpc_server import GrpcServer


def threads_of_a_fork():
    readable, writable = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writable, str(len(os.listdir("/proc/self/task"))).encode())
        os._exit(0)
    os.close(writable)
    os.waitpid(pid, 0)
    with os.fdopen(readable) as pipe:
        return int(pipe.read())


async def main():
    server = GrpcServer(None)
    port = await server.start("127.0.0.1:0")
    await server.set_serving(True)
    channel = open_channel(f"ipv4:127.0.0.1:{port}")
    counts = []
    for _ in range(20):
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        counts.append(threads_of_a_fork())
    await channel.close()
    await server.stop(0)
    print(json.dumps(counts))


asyncio.run(main())
"""


@pytest.mark.unmeasured  # a thread in each fork saves what was measured
@pytest.mark.parametrize(
    "service", ["crewmesh_worker.service", "crewmesh_store.service", "crewmesh_gateway.service"]
)
def test_no_thread_of_grpc_runs_in_a_process_that_a_service_forks(service: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FORKED_THREADS, service], check=True, capture_output=True
    )
    assert json.loads(answer.stdout) == [1] * 20
