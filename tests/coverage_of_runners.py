"""Has runners say what they have executed, where coverage is measured.

A runner is killed when it isn't needed any more, and then it can say nothing. So while tests are measured, each
saves what it has, again and again.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_PAUSE_SECONDS = 0.3


def watch() -> None:
    """Have every process that is forked from here save, if coverage is measured at all."""
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        os.register_at_fork(after_in_child=_begin)


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
