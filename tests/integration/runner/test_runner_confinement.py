"""What a run can touch beside its own, tried by one that means it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crewmesh.v1.runner_pb2 import Execute
from crewmesh_worker.runner.confinement import available
from crewmesh_worker.runner.pool import RunnerPool, RunnerSettings

pytestmark = pytest.mark.skipif(
    available() != ["files", "ports", "signals"], reason="this kernel's Landlock has less"
)

Attempts = Callable[..., Any]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is there beside the runs: secrets, caches, the code of a project."""
    directory = tmp_path_factory.mktemp("outside")
    for name in ("secrets", "datasets", "project", "kept"):
        (directory / name).mkdir()
        (directory / name / "file").write_text(name)
    return directory


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """Two servers of this machine; runs may connect to the first."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        yield one.getsockname()[1], two.getsockname()[1]


@pytest.fixture(scope="module")
async def confined_pool(
    worker_environment: None, runner_settings: dict[str, Any], outside: Path, ports: tuple[int, int]
) -> AsyncIterator[RunnerPool]:
    pool = RunnerPool(
        RunnerSettings(
            **runner_settings,
            confined=True,
            readable=(outside / "project",),
            openable=(outside / "datasets",),
            writable=(outside / "kept",),
            ports=(ports[0],),
        )
    )
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
def attempt(confined_pool: RunnerPool, execute: Callable[..., Execute]) -> Attempts:
    """Have a run carry out code; return what each gave, or the name of what it raised."""

    async def attempt(**attempts: str) -> dict[str, str]:
        task = {
            "name": "t",
            "tool": ["attempt", {"attempts": attempts}],
            "answer": "what the tool said",
        }
        runner = await confined_pool.acquire("tests")
        try:
            messages = [message async for message in runner.execute(execute(task))]
        finally:
            await runner.release()
        outcomes: dict[str, str] = json.loads(messages[-1].finished.output)
        return outcomes

    return attempt


async def test_a_run_reads_and_writes_its_own_and_what_it_is_given(
    attempt: Attempts, outside: Path
) -> None:
    got = await attempt(
        own="Path('made').write_text('x') and Path('made').rename('moved').read_text()",
        nested="(Path('a/b').mkdir(parents=True), Path('a/b').rename('c'))",
        temporary="__import__('tempfile').mkdtemp() and 'ok'",
        project=f"Path({str(outside / 'project' / 'file')!r}).read_text()",
        dataset=f"Path({str(outside / 'datasets' / 'file')!r}).read_text()",
        kept=f"Path({str(outside / 'kept' / 'new')!r}).write_text('1')",
        program="subprocess.run(['ls', '/usr'], capture_output=True, check=True).returncode",
        interpreter="subprocess.run([sys.executable, '-c', 'import json, numpy'], check=True).returncode",
        semaphores="__import__('multiprocessing').get_context('spawn').Lock().acquire()",
        names="__import__('socket').getaddrinfo('localhost', 80) and 'ok'",
    )
    assert got == {
        "own": "x", "nested": "(None, PosixPath('c'))", "temporary": "ok",
        "project": "project", "dataset": "datasets", "kept": "1",
        "program": "0", "interpreter": "0", "semaphores": "True", "names": "ok",
    }  # fmt: skip


async def test_a_run_gets_at_nothing_else(attempt: Attempts, outside: Path) -> None:
    secret = str(outside / "secrets" / "file")
    home = str(Path.home())
    got = await attempt(
        read=f"Path({secret!r}).read_text()",
        read_by_a_child=f"subprocess.run(['cat', {secret!r}], check=True)",
        read_by_a_link=f"(Path('link').symlink_to({secret!r}), Path('link').read_text())",
        write=f"Path({secret!r}).write_text('x')",
        write_the_project=f"Path({str(outside / 'project' / 'file')!r}).write_text('x')",
        write_a_dataset=f"Path({str(outside / 'datasets' / 'file')!r}).write_text('x')",
        list_datasets=f"os.listdir({str(outside / 'datasets')!r})",
        remove=f"Path({secret!r}).unlink()",
        list_homes=f"os.listdir({home!r})",
        other_runs="os.listdir('..')",
        shared_memory="os.listdir('/dev/shm')",
        our_packages=f"Path({str(Path(__file__).parent / 'planted.py')!r}).write_text('')",
        worker_environment=f"Path('/proc/{os.getpid()}/environ').read_bytes()",
        worker_memory=f"open('/proc/{os.getpid()}/mem', 'rb')",
        worker_directory=f"os.readlink('/proc/{os.getpid()}/cwd')",
        signal_the_worker=f"os.kill({os.getpid()}, 0)",
        signal_the_zygote="os.kill(os.getppid(), 0)",
    )
    refusals = {"PermissionError", "CalledProcessError"}
    assert {name: outcome for name, outcome in got.items() if outcome not in refusals} == {}
    assert (outside / "secrets" / "file").read_text() == "secrets"


async def test_a_run_connects_to_the_ports_that_it_may(
    attempt: Attempts, ports: tuple[int, int]
) -> None:
    connect = "__import__('socket').create_connection(('127.0.0.1', {})) and 'ok'"
    got = await attempt(named=connect.format(ports[0]), other=connect.format(ports[1]))
    assert got == {"named": "ok", "other": "PermissionError"}


@pytest.mark.unmeasured
async def test_threads_that_were_there_before_the_run_are_confined_too(
    attempt: Attempts, outside: Path
) -> None:
    """Those of CrewAI's bus among them: a run could have them do what it can't itself."""
    secret = str(outside / "secrets" / "file")
    got = await attempt(
        status="{line.split()[1] for t in Path('/proc/self/task').iterdir() "
        "for line in (t / 'status').read_text().splitlines() if line.startswith('NoNewPrivs')}",
        bus=f"__import__('crewai.events.event_bus').events.event_bus.crewai_event_bus"
        f"._sync_executor.submit(Path({secret!r}).read_text).result()",
    )
    assert got == {"status": "{'1'}", "bus": "PermissionError"}
