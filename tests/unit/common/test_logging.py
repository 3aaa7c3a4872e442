"""A service's log in a file of its own, in a process of its own: logging is a process's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_SERVICE = """
import logging, sys
import structlog
from crewmesh.common.logging import start_logging
from crewmesh.common.settings import Settings

start_logging("store", Settings.load())
log = structlog.get_logger("here")
log.info("before midnight", run_id="r1")
logging.getLogger().handlers[1].rolloverAt = 0
log.info("after midnight")
log.debug("too fine")
"""


def service(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _SERVICE], env=settings, capture_output=True, text=True, check=False
    )


def test_a_log_file_begins_anew_each_day(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "store.log"
    done = service(CREWMESH_LOG_PATH=str(path))
    assert done.returncode == 0, done.stderr
    (rotated,) = path.parent.glob("store.log.*")
    first, second = (json.loads(file.read_text()) for file in (rotated, path))
    assert first["event"] == "before midnight"
    assert {"at", "level", "service", "run_id"} <= first.keys()
    assert second["event"] == "after midnight"
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == [
        "before midnight",
        "after midnight",
    ]


def test_a_log_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = service(CREWMESH_LOG_PATH=str(tmp_path / "file" / "store.log"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "CREWMESH_LOG_PATH" in line
