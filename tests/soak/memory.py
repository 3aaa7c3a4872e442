"""How much memory the parts of a mesh hold, as Linux accounts for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos.mesh import Mesh

MIB = 2**20

# What a service's own process holds: nothing of it is shared with another.
RESIDENT = ("Rss",)
# Runners share most pages with the process that they are forked from, which PSS divides.
PROPORTIONAL = ("Pss",)
# Postgres' processes share its buffers, which fill up once and are of a fixed size.
PRIVATE = ("Private_Clean", "Private_Dirty")


@dataclass
class Series:
    """One part's samples: seconds since the load began, and MiB."""

    name: str
    measure: str
    times: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)


class Sampler:
    """Looks at all processes of a mesh that is up."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.series: dict[str, Series] = {}
        # Process ids by part; a part that is restarted begins a new memory.
        self.pids = {part.name: part.pid for part in mesh.parts.values()}

    def sample(self, seconds: float) -> None:
        """Take one sample of everything."""
        for kind in ("gateway", "worker", "store"):
            for part in self._mesh.parts_of(kind):
                self._add(part.name, "RSS", seconds, [part.pid], RESIDENT)
        for part in self._mesh.parts_of("worker"):
            # The zygote and its runners; a runner that is replaced is another's memory.
            runners = descendants(part.pid)
            self._add(f"{part.name}'s runners", "PSS", seconds, runners, PROPORTIONAL)
        (postgres,) = self._mesh.parts_of("postgres")
        family = [postgres.pid, *descendants(postgres.pid)]
        self._add("postgres", "private", seconds, family, PRIVATE)

    def _add(
        self, name: str, measure: str, seconds: float, pids: Iterable[int], keys: tuple[str, ...]
    ) -> None:
        series = self.series.setdefault(name, Series(name, measure))
        series.times.append(seconds)
        series.mib.append(sum(held(pid, keys) for pid in pids) / MIB)


def descendants(pid: int) -> list[int]:
    """Return the processes that one has started, and theirs; none when it has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def held(pid: int, keys: tuple[str, ...]) -> int:
    """Return the sum of some of a process's accounts in bytes; 0 when it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(kib * 1024 for key, kib in _accounts(lines).items() if key in keys)


def _accounts(lines: Iterable[str]) -> Mapping[str, int]:
    fields = (line.split() for line in lines)
    return {name.removesuffix(":"): int(value) for name, value, *_ in fields}
