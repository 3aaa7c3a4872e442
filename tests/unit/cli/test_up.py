"""`crewmesh up` with a real Postgres and stand-ins for the services (see stand_ins/)."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from crewmesh.cli.mesh.directory import MeshDirectory

STAND_INS = Path(__file__).parent / "stand_ins"
ROOT = Path(__file__).parents[3]


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.01)


class Up:
    """One `crewmesh up` in a data directory, and what its stand-ins noted."""

    def __init__(self, root: Path, *options: str, ports: tuple[str, ...] = ("0", "0")) -> None:
        self.data_dir = root / "data"
        self.notes = root / "notes"
        self.notes.mkdir(parents=True, exist_ok=True)
        arguments = ["--port", ports[0], "--grpc-port", ports[1], *options]
        self._log = (root / "up.log").open("a+")
        self.process = psutil.Popen(
            [
                sys.executable,
                "-m",
                "crewmesh.cli",
                "up",
                "--data-dir",
                str(self.data_dir),
                *arguments,
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": f"{STAND_INS}{os.pathsep}{ROOT}",
                "STAND_IN_DIR": str(self.notes),
            },
            start_new_session=True,
        )

    def wait_until_ready(self) -> dict[str, Any]:
        path = self.data_dir / "address.json"
        until(lambda: path.exists() or self.process.poll() is not None)
        assert path.exists(), self.output
        address: dict[str, Any] = json.loads(path.read_text())
        return address

    def starts(self, name: str) -> list[dict[str, Any]]:
        return [start for start in self._noted("starts") if start["name"] == name]

    @property
    def stops(self) -> list[str]:
        return self._noted("stops")

    @property
    def output(self) -> str:
        self._log.seek(0)
        return self._log.read()

    @property
    def family(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def postmaster(self) -> psutil.Process:
        pid = (self.data_dir / "postgres/postmaster.pid").read_text().splitlines()[0]
        return psutil.Process(int(pid))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def _noted(self, name: str) -> list[Any]:
        path = self.notes / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def gone(family: list[psutil.Process]) -> bool:
    # A killed orphan that nobody has reaped yet is as good as gone.
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in family)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Start a mesh in the test's own directory."""
    started: list[Up] = []

    def begin(*options: str, ports: tuple[str, ...] = ("0", "0"), name: str = "mesh") -> Up:
        started.append(Up(tmp_path / name, *options, ports=ports))
        return started[-1]

    yield begin
    for up in started:
        if up.process.poll() is None:
            up.stop()


Start = Callable[..., Up]


def test_a_mesh_says_where_it_answers_once_everything_is_ready(start: Start) -> None:
    up = start("--workers", "2", "--slots", "3")
    address = up.wait_until_ready()
    assert address["pid"] == up.process.pid
    gateway, worker = up.starts("gateway")[0]["settings"], up.starts("worker-1")[0]["settings"]
    second, store = up.starts("worker-2")[0]["settings"], up.starts("store")[0]["settings"]
    assert address["url"] == f"http://127.0.0.1:{gateway['CREWMESH_PORT']}"
    assert address["grpc"] == worker["CREWMESH_WORKER_ADDRESS"]
    workers = f"{worker['CREWMESH_WORKER_ADDRESS']},{second['CREWMESH_WORKER_ADDRESS']}"
    assert gateway["CREWMESH_WORKER_TARGET"] == f"ipv4:{workers}"
    assert gateway["CREWMESH_STORE_TARGET"] == f"ipv4:{store['CREWMESH_STORE_ADDRESS']}"
    assert (worker["CREWMESH_SLOTS"], second["CREWMESH_SLOTS"]) == ("3", "3")
    assert store["CREWMESH_OBJECT_STORE_URL"] == (up.data_dir / "objects").as_uri()
    until(lambda: "Crewmesh is ready:" in up.output)


def test_its_database_answers_with_commits_that_are_durable(start: Start) -> None:
    import psycopg

    up = start()
    up.wait_until_ready()
    url = up.starts("store")[0]["settings"]["CREWMESH_DATABASE_URL"]
    with psycopg.connect(url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW is_superuser").fetchone() == ("off",)
        connection.execute("CREATE TABLE t (x text)")


def test_secrets_are_private_and_never_on_a_command_line_or_in_a_log(start: Start) -> None:
    up = start()
    up.wait_until_ready()
    files = [up.data_dir / "api-key", up.data_dir / "mesh-secret"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]
    assert stat.S_IMODE(up.data_dir.stat().st_mode) == 0o700
    key, secret = (path.read_text().strip() for path in files)
    assert key.startswith("cm_")
    assert len(key) >= 35
    assert len(secret) >= 32
    store = up.starts("store")[0]["settings"]
    assert store["CREWMESH_BOOTSTRAP_API_KEY_FILE"] == str(files[0])
    assert store["CREWMESH_MESH_SECRET_FILE"] == str(files[1])
    seen = [word for process in up.family for word in process.cmdline()]
    seen += [path.read_text() for path in (up.data_dir / "logs").iterdir()]
    seen += [str(up.starts(name)) for name in ("store", "worker-1", "gateway")]
    seen.append(up.output)
    assert not any(word in text for text in seen for word in (key, secret))


def test_sigterm_stops_in_order_and_leaves_nothing(start: Start) -> None:
    up = start("--workers", "2")
    up.wait_until_ready()
    family, runtime = up.family, MeshDirectory(up.data_dir).runtime
    assert any("sleep" in process.cmdline() for process in family)
    assert runtime.exists()
    assert up.stop() == 0
    assert up.stops[0] == "gateway"
    assert sorted(up.stops[1:3]) == ["worker-1", "worker-2"]
    assert up.stops[3:] == ["store"]
    assert "database system is shut down" in (up.data_dir / "logs/postgres.log").read_text()
    until(lambda: gone(family))
    assert not (up.data_dir / "address.json").exists()
    assert not runtime.exists()


@pytest.mark.parametrize("name", ["store", "worker-1", "gateway"])
def test_a_service_that_falls_is_brought_back_on_its_port(start: Start, name: str) -> None:
    up = start()
    up.wait_until_ready()
    os.kill(up.starts(name)[0]["pid"], signal.SIGKILL)
    until(lambda: len(up.starts(name)) == 2)
    first, second = up.starts(name)
    assert first["settings"] == second["settings"]
    until(lambda: f"{name} was killed by SIGKILL; starting again in 0.5 s" in up.output)
    until(lambda: up.output.count(f"{name} is ready") == 2)
    others = {"store", "worker-1", "gateway"} - {name}
    assert all(len(up.starts(other)) == 1 for other in others)


def test_a_service_that_keeps_falling_is_tried_again_ever_later(start: Start) -> None:
    up = start()
    up.wait_until_ready()
    (up.notes / "worker-1.fails").touch()
    os.kill(up.starts("worker-1")[0]["pid"], signal.SIGKILL)
    until(lambda: "worker-1 ended with status 1; starting again in 1.0 s" in up.output)
    until(lambda: "worker-1 ended with status 1; starting again in 2.0 s" in up.output)
    (up.notes / "worker-1.fails").unlink()
    until(lambda: up.output.count("worker-1 is ready") == 2)


def test_postgres_is_brought_back_too(start: Start) -> None:
    up = start()
    up.wait_until_ready()
    first = up.postmaster()
    first.kill()
    until(lambda: up.output.count("postgres is ready") == 2)
    assert up.postmaster() != first


def test_nothing_survives_the_parents_sudden_death_and_the_next_start_is_clean(
    start: Start,
) -> None:
    up = start()
    up.wait_until_ready()
    # The stand-in's own child is the stand-in's business; a worker's runners die with it.
    family = [process for process in up.family if "sleep" not in process.cmdline()]
    sleeper = next(process for process in up.family if "sleep" in process.cmdline())
    assert len(family) > 4
    up.process.kill()
    until(lambda: gone(family))
    sleeper.kill()
    assert (up.data_dir / "address.json").exists()
    key = (up.data_dir / "api-key").read_text()
    again = start()
    until(lambda: len(again.starts("gateway")) == 2)
    until(lambda: again.wait_until_ready()["pid"] == again.process.pid)
    assert (up.data_dir / "api-key").read_text() == key


def test_a_second_mesh_in_the_same_directory_is_refused_by_name(start: Start) -> None:
    up = start()
    address = up.wait_until_ready()
    second = subprocess.run(
        [sys.executable, "-m", "crewmesh.cli", "up", "--data-dir", str(up.data_dir)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 1
    assert f"a mesh already runs in {up.data_dir}" in second.stderr
    assert f"process {up.process.pid} holds it and answers at {address['url']}" in second.stderr
    assert (up.data_dir / "address.json").exists()


@pytest.mark.parametrize(("option", "position"), [("--port", 0), ("--grpc-port", 1)])
def test_a_port_in_use_is_told_with_its_option(start: Start, option: str, position: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = ["0", "0"]
        ports[position] = port
        up = start(ports=tuple(ports))
        assert up.process.wait(30) == 1
    assert f"error: port {port} is in use" in up.output
    assert f"{option} 0 takes a free one" in up.output
    assert not (up.data_dir / "postgres").exists()


def test_a_port_that_is_asked_for_is_taken(start: Start) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    up = start(ports=(str(port), "0"))
    assert up.wait_until_ready()["url"] == f"http://127.0.0.1:{port}"


def test_a_start_that_fails_shows_the_end_of_the_log_and_leaves_nothing(start: Start) -> None:
    up = start(name="failing")
    (up.notes / "worker-1.fails").touch()
    assert up.process.wait(60) == 1
    assert "error: worker-1 ended with status 1" in up.output
    assert "- something is missing: install it" in up.output
    assert f"the whole log is {up.data_dir}/logs/worker-1.log" in up.output
    assert "Traceback" not in up.output
    assert not (up.data_dir / "address.json").exists()
    for name in ("store", "gateway"):
        assert all(not psutil.pid_exists(started["pid"]) for started in up.starts(name))


def test_a_stop_while_starting_leaves_nothing(start: Start) -> None:
    up = start()
    (up.notes / "worker-1.hangs").touch()
    until(lambda: up.starts("store") and up.starts("worker-1"))
    family = up.family
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 130
    until(lambda: gone(family))


def test_a_second_signal_does_not_wait(start: Start) -> None:
    up = start()
    (up.notes / "worker-1.stubborn").touch()
    up.wait_until_ready()
    family = up.family
    up.process.send_signal(signal.SIGINT)
    until(lambda: "worker-1" in up.stops)
    assert up.process.poll() is None
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(10) == 0
    until(lambda: gone(family))


def test_a_removed_key_is_not_made_anew_for_a_database_that_knows_another(start: Start) -> None:
    up = start()
    up.wait_until_ready()
    up.stop()
    (up.data_dir / "api-key").unlink()
    again = start()
    again.wait_until_ready()
    assert not (up.data_dir / "api-key").exists()
    assert "CREWMESH_BOOTSTRAP_API_KEY_FILE" not in again.starts("store")[-1]["settings"]


def test_a_directory_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = subprocess.run(
        [sys.executable, "-m", "crewmesh.cli", "up", "--data-dir", str(tmp_path / "file/data")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode == 1
    assert "can't be used as the data directory" in refused.stderr


def test_exit_after_demo_alone_is_a_wrong_call(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "crewmesh.cli", "up", "--exit-after-demo"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode == 2
