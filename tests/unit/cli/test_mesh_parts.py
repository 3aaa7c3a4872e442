from __future__ import annotations

import socket
from datetime import date
from pathlib import Path

import pytest

from crewmesh.cli.errors import CliError
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.cli.mesh.log_file import LogFile
from crewmesh.cli.mesh.ports import ReservedPort


def test_a_log_keeps_to_its_size_and_its_last_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "a.log", max_bytes=100)
    for number in range(50):
        log.write(f"line {number:03}\n".encode())
    assert log.tail(2) == ["line 048", "line 049"]
    log.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"a.log", "a.log.1"}
    assert max(sizes.values()) <= 100


def test_a_log_goes_on_where_the_last_mesh_left_it(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        log = LogFile(tmp_path / "a.log")
        log.write(text)
        assert log.tail(5) == [text.decode().strip()]
        log.close()
    assert (tmp_path / "a.log").read_text() == "first\nsecond\n"


def test_a_reserved_port_is_its_services_again_and_again() -> None:
    reserved = ReservedPort(0, "--port")
    for _ in range(2):
        with socket.socket() as service:
            service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            service.bind(("127.0.0.1", reserved.number))
            service.listen()
            client = socket.create_connection(("127.0.0.1", reserved.number))
            accepted, _ = service.accept()
            accepted.close()
            client.close()
    reserved.release()


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    with socket.socket() as service:
        service.bind(("127.0.0.1", 0))
        service.listen()
        number = service.getsockname()[1]
        with pytest.raises(CliError, match=f"port {number} is in use"):
            ReservedPort(number, "--port")


def test_a_directory_is_one_meshs_at_a_time(tmp_path: Path) -> None:
    directory = MeshDirectory(tmp_path / "data")
    with (
        directory.locked(),
        pytest.raises(CliError, match="a mesh already runs"),
        directory.locked(),
    ):
        pass
    with directory.locked():
        pass


def test_an_old_runtime_directory_is_emptied(tmp_path: Path) -> None:
    directory = MeshDirectory(tmp_path / "data")
    directory.renew_runtime()
    (directory.runtime / "leftover").touch()
    directory.renew_runtime()
    assert list(directory.runtime.iterdir()) == []
    assert len(str(directory.runtime / "postgres/.s.PGSQL.5432")) < 104
    directory.remove_runtime()


def test_a_log_begins_anew_each_day_and_keeps_some(tmp_path: Path) -> None:
    days = [date(2026, 11, day) for day in (27, 27, 28, 29, 30)]
    today = iter(days)
    log = LogFile(tmp_path / "a.log", keep_days=2, today=lambda: next(today))
    for day in days[1:]:
        log.write(f"{day}\n".encode())
    log.close()
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {
        "a.log.2026-11-28": "2026-11-28\n",
        "a.log.2026-11-29": "2026-11-29\n",
        "a.log": "2026-11-30\n",
    }
