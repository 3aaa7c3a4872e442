"""What a runner's process may use of the machine."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import Final

from crewmesh_worker.runner.settings import RunnerSettings

# Of 1000: when memory runs out, the kernel ends a runner before the worker or the zygote.
_OOM_SCORE: Final = "500"
# When there are more runs than cores, what keeps their leases and streams their events goes first,
# then what a leased run waits for: a few runners at a time that warm up.
_NICENESS_OF_STARTING: Final = 5
_NICENESS_OF_RUNNING: Final = 19


def limit_resources(settings: RunnerSettings) -> None:
    """Limit this process and all that it starts."""
    with contextlib.suppress(OSError):  # some sandboxes have no such file
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    os.nice(_NICENESS_OF_STARTING)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, settings.max_open_files)
    if settings.address_space_mb is not None:
        _limit(resource.RLIMIT_AS, settings.address_space_mb * 1024 * 1024)


def yield_to_starting() -> None:
    """From here on, have this process go behind runners that start."""
    for thread in Path("/proc/self/task").iterdir():  # on Linux each has its own
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), _NICENESS_OF_RUNNING)


def _limit(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))
