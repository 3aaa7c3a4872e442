"""Has processes that are killed say what they have executed, where coverage is measured.

Coverage loads this as its plugin in every process that it measures. A runner is killed when it
isn't needed any more, and so is the local model's server, and then they can say nothing. So each
saves what it has, again and again.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

_PAUSE_SECONDS: Final = 0.3
_KILLED: Final = "crewmesh_worker.local_model.server"

# For processes that tests give an environment of their own; empty where nothing is measured.
MEASURED: Final = {
    name: os.environ[name]
    for name in ("COVERAGE_PROCESS_CONFIG", "PYTHONPATH")
    if "COVERAGE_PROCESS_CONFIG" in os.environ and name in os.environ
}


def coverage_init(_registry: Any, _options: Any) -> None:
    """Have this process save, if it will be killed, and all that are forked from it."""
    if _KILLED in sys.orig_argv:
        _begin()
    os.register_at_fork(after_in_child=_begin)


def measure_environments(directory: Path) -> None:
    """Have what runs in the virtual environments of a directory be measured, if anything is.

    They lend coverage from this one: nothing is installed that a project hasn't asked for.
    """
    if not MEASURED:
        return
    import coverage

    lent = directory.parent / "lent"
    lent.mkdir(exist_ok=True)
    if not (lent / "coverage").exists():
        (lent / "coverage").symlink_to(Path(coverage.__file__).parent)
    start = f"{Path(__file__).parents[1]}\n{lent}\nimport coverage; coverage.process_startup()\n"
    for packages in directory.glob("*/lib/python*/site-packages"):
        (packages / "measured.pth").write_text(start, encoding="utf-8")


def _begin() -> None:
    threading.Thread(target=_save_repeatedly, daemon=True).start()


def _save_repeatedly() -> None:
    from coverage import Coverage

    while True:
        time.sleep(_PAUSE_SECONDS)
        measuring = Coverage.current()
        if measuring is None or sys.is_finalizing():
            continue
        # As Coverage.save does, but only when something was executed, and without the search for
        # sources that weren't: dozens of idle runners took all of the machine for that.
        collector, data = measuring._collector, measuring._data
        if collector is not None and data is not None and collector.flush_data():
            data.write()
