"""What a soak has shown, as Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tests.soak.load import SteadyLoad
from tests.soak.memory import Series
from tests.soak.verdict import MAX_GROWTH, MAX_MIB_PER_HOUR, Verdict

_PAGE = """\
# Does memory stay flat?

Made by `make soak` on {at} ({cores} cores, Python processes on one machine): 2 gateways, 3 workers, 2 stores and Postgres under
a steady load for {minutes:.0f} minutes. Clients start runs of 1 to 5 tasks, some of them twice, watch them over streams that they
leave and take up again, cancel some, and upload, read and delete files.

{load}
Every {every:.0f} s each process's memory is read from Linux's accounts. The first third is for warming up. Through the rest goes a
Theil-Sen line (the median of the slopes between any two samples, so that single peaks move nothing). A part grows when that line
rises by more than {slope:.0f} MiB an hour and the last third's median is more than {growth:.0%} above the second third's.

{memory}
RSS is what a process holds. Runners share pages with the process that they are forked from: PSS counts each page once. Postgres'
shared buffers have a fixed size and are left out: what is counted is private to its processes.

{faults}
"""


def as_markdown(
    series: Iterable[Series],
    verdicts: dict[str, Verdict],
    load: SteadyLoad,
    faults: Sequence[str],
    minutes: float,
    every: float,
) -> str:
    """Return the report."""
    memory = _table(
        ("part", "measure", "first, MiB", "second third", "last third", "MiB/h", "verdict"),
        [_memory_row(each, verdicts[each.name]) for each in series],
    )
    return _PAGE.format(
        at=datetime.now(UTC).date(),
        cores=os.cpu_count(),
        minutes=minutes,
        every=every,
        slope=MAX_MIB_PER_HOUR,
        growth=MAX_GROWTH,
        load=_table(("done", "times"), sorted(load.done.items())),
        memory=memory,
        faults="\n".join(f"- {fault}" for fault in faults[:50])
        or "Every run ended as it should, every stream was whole, and no process ended or was restarted.",
    )


def _memory_row(series: Series, verdict: Verdict) -> tuple[object, ...]:
    return (
        series.name,
        series.measure,
        f"{series.mib[0]:.1f}",
        f"{verdict.middle_mib:.1f}",
        f"{verdict.last_mib:.1f}",
        f"{verdict.mib_per_hour:+.1f}",
        "flat" if verdict.flat else "GROWS",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    ruled = ["---", *["---:"] * (len(head) - 1)]
    lines = [head, ruled, *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
