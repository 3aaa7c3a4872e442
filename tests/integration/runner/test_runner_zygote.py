"""What the process that all runners are forked from holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crewmesh_worker.runner.environment import zygote_environment
from crewmesh_worker.runner.settings import RunnerSettings

FACTS = """
import gc, json, os, sys, threading
from crewmesh_worker.runner.preload import preload
from crewmesh_worker.runner.settings import RunnerSettings

preload(RunnerSettings.model_validate_json(sys.argv[1]))
print(json.dumps({
    "modules": sorted(sys.modules),
    "python_threads": threading.active_count(),
    "threads": len(os.listdir("/proc/self/task")),
    "fds": len(os.listdir("/proc/self/fd")) - 1,
    "frozen": gc.get_freeze_count(),
    "files": sorted(os.listdir()),
}))
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("zygote")
    answer = subprocess.run(
        [sys.executable, "-P", "-c", FACTS, RunnerSettings(slots=1).model_dump_json()],
        env=zygote_environment("marker", Path(home)),
        cwd=home,
        check=True,
        capture_output=True,
    )
    loaded: dict[str, Any] = json.loads(answer.stdout)
    return loaded


def test_it_has_imported_crewai_but_nothing_that_cannot_be_forked(facts: dict[str, Any]) -> None:
    ours = {f"crewmesh_worker.{part}" for part in ("crews.build", "models", "tools.registry")}
    assert {"crewai", "duckdb", "matplotlib"} | ours <= set(facts["modules"])
    assert not {"grpc", "lancedb"} & set(facts["modules"])


def test_it_has_a_single_thread(facts: dict[str, Any]) -> None:
    assert (facts["python_threads"], facts["threads"]) == (1, 1)


def test_it_holds_no_file_open(facts: dict[str, Any]) -> None:
    assert facts["fds"] == 3


def test_what_it_has_loaded_is_out_of_the_garbage_collector_s_sight(facts: dict[str, Any]) -> None:
    assert facts["frozen"] > 100_000
