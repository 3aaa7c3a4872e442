"""Has processes that are killed say what they have executed, where coverage is measured.

Coverage loads this as its plugin in every process that it measures. A runner is killed when it
isn't needed any more, and so is the local model's server, and then they can say nothing. So each
saves what it has, again and again.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

_PAUSE_SECONDS: Final = 0.3
_CLOSE_RANGE: Final = os.closerange
# A runner closes all that it has inherited, by number, and it must not be forked or do so while a
# file is written here: what it opens next would have that number, and get what is written.
_writing = threading.Lock()
_KILLED: Final = "crewmesh_worker.local_model.server"

# For processes that tests give an environment of their own; empty where nothing is measured.
MEASURED: Final = {
    name: os.environ[name]
    for name in ("COVERAGE_PROCESS_CONFIG", "PYTHONPATH")
    if "COVERAGE_PROCESS_CONFIG" in os.environ and name in os.environ
}


def coverage_init(_registry: Any, _options: Any) -> None:
    """Have this process save, if it will be killed, and all that are forked from it."""
    _arrange()


@functools.cache  # coverage is begun anew in a process that is forked, and comes here again
def _arrange() -> None:
    if _KILLED in sys.orig_argv:
        _begin()
    os.register_at_fork(
        before=lambda: _writing.acquire(),
        after_in_parent=lambda: _writing.release(),
        after_in_child=_begin,
    )
    os.closerange = _close_range


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
    global _writing
    _writing = threading.Lock()
    threading.Thread(target=_save_repeatedly, daemon=True).start()


def _close_range(first: int, last: int) -> None:
    with _writing:
        _CLOSE_RANGE(first, last)


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
        with _writing:
            if collector is not None and data is not None and collector.flush_data():
                data.write()
