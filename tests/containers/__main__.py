"""`python -m tests.containers`: does docker-compose.yml do what the docs say, for real?

Brings the stack up in a container engine, looks into its containers, has runs done, scales the
workers from 1 to 4 and back while runs come, and says what it saw. Needs root, an engine and the
images (`make images`); `make test-containers` does all of it. The exit status is 0 only when
nothing was lost and every container is as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

import httpx2

from tests.containers import profiles, project
from tests.containers.load import Load, Outcomes
from tests.containers.report import Report, say
from tests.containers.stack import Stack, answers, running, wait_until

SERVICES = ("api-gateway", "store", "agent-worker")
_LARGEST_MB = 250
_READY_SECONDS = 180
# At each number of workers.
_RUNS_BETWEEN = 40
_SCALED_SECONDS = 450
# What a runner does before its run.
_CONFINED = """
import pathlib, tempfile
from crewmesh_worker.runner.confinement import available, confine
from crewmesh_worker.runner.settings import RunnerSettings

secret = pathlib.Path("/run/secrets/mesh-secret")
secret.read_text()
own = pathlib.Path(tempfile.mkdtemp(dir="/tmp"))
confine(RunnerSettings(slots=1, confined=True), own)
(own / "file").write_text("its own")
try:
    secret.read_text()
except PermissionError:
    print("held")
else:
    print("not held" if available() else "no Landlock")
"""


def look_at_images(stack: Stack, prefix: str, tag: str, base: str, report: Report) -> None:
    """Sizes; a base that isn't the public one is named, and what lies on it is told apart."""
    base_mb = stack.image_bytes(base) / 1e6
    say(f"images ({base} has {base_mb:.0f} MB):")
    for service in SERVICES:
        whole = stack.image_bytes(f"{prefix}/{service}:{tag}") / 1e6
        told = f"{service}: {whole:.0f} MB, {whole - base_mb:.0f} MB of it on the base"
        if service == "agent-worker":
            say(f"      {told}")
        else:
            # python:3.13-slim-bookworm itself is about 125 MB.
            report.check(whole - base_mb + 125 < _LARGEST_MB, f"{told}: under {_LARGEST_MB} MB")


def look_into(stack: Stack, report: Report) -> None:
    """What runs in the containers may do, and what they hold."""
    say("containers:")
    for service in SERVICES:
        user = stack.execute(service, "id", "-u").stdout.strip()
        report.check(user == "10001", f"{service} runs as user {user}")
        for place in ("/", "/opt/crewmesh", "/etc"):
            wrote = stack.execute(service, "sh", "-c", f"touch {place}/x")
            refused = "Read-only file system" in wrote.stderr
            report.check(refused, f"{service} can't write to {place}")
        # Of the service itself, not of what is executed beside it.
        status = stack.execute(service, "cat", "/proc/1/status").stdout
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        report.check(int(facts["CapEff"], 16) == 0, f"{service} has no capability")
        report.check(facts["NoNewPrivs"] == "1", f"{service} can gain no privilege")
        command = ("python", "-c", "import importlib.util as u; print(u.find_spec('crewai'))")
        crewai = stack.execute(service, *command).stdout.strip() != "None"
        wanted = service == "agent-worker"
        report.check(crewai == wanted, f"{service} has {'' if wanted else 'no '}CrewAI")
        environment = stack.execute(service, "env").stdout
        secret = (stack.secrets / "mesh-secret").read_text(encoding="utf-8")
        report.check(secret not in environment, f"{service} has no secret in its environment")
    look_at_confinement(stack, report)
    reach = "import socket; socket.create_connection(('{}', {}), 3)"
    for service, host, port, reaches in (
        ("store", "postgres", 5432, True),
        ("agent-worker", "postgres", 5432, False),
        ("api-gateway", "postgres", 5432, False),
        ("agent-worker", "store", 8082, True),
    ):
        done = stack.execute(service, "python", "-c", reach.format(host, port))
        word = "reaches" if reaches else "can't reach"
        report.check((done.returncode == 0) == reaches, f"{service} {word} {host}:{port}")


def look_at_confinement(stack: Stack, report: Report) -> None:
    """Does Landlock hold in a container, where the kernel has it?"""
    probed = stack.execute("agent-worker", "python", "-c", _CONFINED)
    if probed.stdout.strip() == "no Landlock":
        say("      this kernel has no Landlock: runs aren't confined here")
        return
    report.check(probed.stdout.strip() == "held", "what is confined can't read the mesh's secret")
    log = stack.log(stack.containers("agent-worker")[0])
    report.check('"runs are confined"' in log, "the worker says that runs are confined")


def run_once(stack: Stack, report: Report) -> None:
    """One run over REST, from the question to the answer."""
    answer = httpx2.post(
        f"{stack.url}/v1/runs",
        params={"wait": 60},
        json={"crew": "hello", "inputs": {"topic": "containers"}},
        headers={"Authorization": f"Bearer {stack.api_key}"},
        timeout=90,
        trust_env=False,
    )
    run = answer.json()
    report.check(run.get("status") == "succeeded", f"a run over REST: {run.get('status')}")
    say(f"      it says: {str(run.get('output')).splitlines()[0][:90]}")


async def scale_under_load(stack: Stack, most_runs: int, per_second: float) -> Outcomes:
    """From 1 to 4 workers and back, while runs come."""
    load = Load(stack.url, stack.api_key, most_runs, per_second)
    starting = asyncio.create_task(load.start_runs())
    async with asyncio.timeout(_SCALED_SECONDS):
        for workers, change in ((4, stack.up), (1, stack.scale_down)):
            await load.more(_RUNS_BETWEEN)
            await asyncio.to_thread(change, workers)
            await load.workers(workers)
            say(f"      {workers} workers; {len(load.accepted)} runs accepted")
        await load.more(_RUNS_BETWEEN)
    load.enough = True
    await starting
    outcomes = await load.outcomes(seconds=600)
    say(f"      {len(load.accepted)} accepted, {load.asked_again} times asked again")
    return outcomes


def tell(outcomes: Outcomes, report: Report) -> None:
    attempts = ", ".join(f"{n} in {a}" for a, n in sorted(outcomes.attempts.items()))
    say(f"      attempts: {attempts}; by worker: {sorted(outcomes.workers.values())}")
    for fault in outcomes.faults[:20]:
        say(f"      {fault}")
    report.check(set(outcomes.statuses) == {"succeeded"}, f"all ended: {dict(outcomes.statuses)}")
    report.check(not outcomes.faults, "each ended once, and its log has no gap")
    report.check(len(outcomes.workers) > 1, f"{len(outcomes.workers)} workers did them")


def await_ready(stack: Stack) -> None:
    ready = wait_until(answers(f"{stack.url}/readyz"), _READY_SECONDS, "the gateway is ready")
    say(f"up and ready in {ready:.0f} s, with 1 worker")


def test(stack: Stack, runs: int, per_second: float, report: Report) -> None:
    await_ready(stack)
    for service in (*SERVICES, "postgres"):
        name = stack.containers(service)[0]
        healthy = wait_until(lambda name=name: stack.healthy(name), 60, f"{name} is healthy")
        report.check(True, f"{service} is healthy by its own check, after {healthy:.0f} s")
    look_into(stack, report)
    run_once(stack, report)
    say(f"scaling from 1 to 4 workers and back, while {per_second:g} runs a second come:")
    tell(asyncio.run(scale_under_load(stack, runs, per_second)), report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="podman")
    parser.add_argument("--compose", default="podman-compose")
    parser.add_argument("--base", default="docker.io/library/python:3.13-slim-bookworm")
    parser.add_argument("--prefix", default="crewmesh")
    parser.add_argument("--tag", default="local")
    parser.add_argument("--runs", type=int, default=2000, help="at most, while workers come and go")
    parser.add_argument("--per-second", type=float, default=4)
    parser.add_argument(
        "--profiles", action="store_true", help="then a second stack, with compose's profiles"
    )
    parser.add_argument(
        "--wheels", type=Path, help="then what `crewmesh init` writes, with the wheels in there"
    )
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="crewmesh-containers-") as directory:
        stack = Stack(options.engine, options.compose, Path(directory))
        look_at_images(stack, options.prefix, options.tag, options.base, report)
        with running(stack):
            test(stack, options.runs, options.per_second, report)
    if options.profiles:
        with tempfile.TemporaryDirectory(prefix="crewmesh-containers-") as directory:
            stack = profiles.stack(options.engine, options.compose, Path(directory))
            with running(stack):
                await_ready(stack)
                profiles.look(stack, report)
    if options.wheels:
        with tempfile.TemporaryDirectory(prefix="crewmesh-containers-") as directory:
            new = project.Project(
                options.engine, options.compose, options.base, options.wheels, Path(directory)
            )
            project.test(new, report)
    say(f"{report.checks - len(report.faults)} passed, {len(report.faults)} failed")
    raise SystemExit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
