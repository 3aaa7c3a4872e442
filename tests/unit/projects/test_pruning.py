"""Which environments are removed; that their users hold them is a matter of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crewmesh_worker.projects.environment import environment_python, is_complete
from crewmesh_worker.projects.pruning import MAX_UNUSED_SECONDS, Holds, note_use, prune

NOW = 2_000_000_000.0
HOLD = """
import sys
from pathlib import Path
from crewmesh_worker.projects.pruning import Holds
cache = Path(sys.argv[1])
Holds(cache).hold(Path(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


def environment(cache_dir: Path, key: str, age: float) -> Path:
    """Make an environment that was used so many seconds ago."""
    python = environment_python(cache_dir, key)
    python.parent.mkdir(parents=True)
    python.touch()
    complete = python.parents[1] / ".complete"
    complete.touch()
    os.utime(complete, (NOW - age, NOW - age))
    return python


def left(cache_dir: Path) -> set[str]:
    return {path.parents[1].name for path in (cache_dir / "environments").glob("*/bin/python")}


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ({}, []),
        ({"new": 1}, []),
        ({"new": 1, "old": MAX_UNUSED_SECONDS + 1}, ["old"]),
        # No more than two, whatever their age.
        ({"first": 1, "second": 2, "third": 3, "fourth": 4}, ["third", "fourth"]),
    ],
)
def test_old_ones_go_and_those_beyond_the_number_that_is_kept(
    tmp_path: Path, ages: dict[str, float], expected: list[str]
) -> None:
    for key, age in ages.items():
        environment(tmp_path, key, age)
    assert prune(tmp_path, max_unused=2, now=NOW) == expected
    assert left(tmp_path) == set(ages) - set(expected)
    assert prune(tmp_path, max_unused=2, now=NOW) == []


def test_one_that_is_not_whole_is_somebody_s_work_under_way(tmp_path: Path) -> None:
    python = environment(tmp_path, "begun", MAX_UNUSED_SECONDS + 1)
    (python.parents[1] / ".complete").unlink()
    assert prune(tmp_path, now=NOW) == []
    assert left(tmp_path) == {"begun"}


def test_what_another_process_holds_stays_until_that_has_ended(tmp_path: Path) -> None:
    python = environment(tmp_path, "held", MAX_UNUSED_SECONDS + 1)
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(python)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        later = time.time() + MAX_UNUSED_SECONDS + 60
        assert prune(tmp_path, now=later) == []
        holder.kill()
    assert prune(tmp_path, now=later) == ["held"]
    assert not is_complete(tmp_path, "held")


def test_what_is_let_go_counts_as_just_used(tmp_path: Path) -> None:
    python = environment(tmp_path, "let go", MAX_UNUSED_SECONDS + 1)
    holds = Holds(tmp_path)
    holds.hold(python)
    holds.hold(python)
    holds.release(python)
    holds.release(python)
    assert prune(tmp_path) == []
    assert prune(tmp_path, now=time.time() + MAX_UNUSED_SECONDS + 60) == ["let go"]


def test_an_interpreter_from_elsewhere_and_one_that_is_gone_are_left_alone(tmp_path: Path) -> None:
    Holds(tmp_path).hold(Path(sys.executable))
    note_use(tmp_path, "gone")
    assert prune(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
