"""`crewmesh runs compare`: two runs beside each other."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call
from crewmesh.cli.commands.ids import RunArgument, run_id
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import clean, duration

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient
    from crewmesh.client.models import Run


def compare(
    first: RunArgument,
    second: RunArgument,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Compare two runs: how they went, what they consumed, and where their answers differ."""
    ids = run_id(first), run_id(second)

    async def act(client: AsyncClient) -> tuple[Run, Run]:
        return await client.runs.get(ids[0]), await client.runs.get(ids[1])

    a, b = call(data_dir, act)
    diff = _diff(a, b)
    if as_json:
        print_json({"a": a.raw, "b": b.raw, "output_diff": diff})
        return
    ours, theirs = _facts(a), _facts(b)
    rows = [
        [name, ours[name], theirs[name], "" if ours[name] == theirs[name] else "≠"] for name in ours
    ]
    print_table(["", "A", "B", ""], rows)
    say("\n" + clean(diff) if diff else "\nTheir answers are the same.")


def _facts(run: Run) -> dict[str, str]:
    usage = run.usage
    took = ""
    if run.started_at and run.finished_at:
        took = duration((run.finished_at - run.started_at).total_seconds())
    return {
        "run": run.id,
        "crew": f"{run.crew} {run.crew_version}",
        "status": run.status,
        "inputs": json.dumps(run.inputs, ensure_ascii=False, sort_keys=True),
        "models": ", ".join(run.models),
        "attempts": str(run.attempt),
        "took": took,
        "model calls": f"{usage.model_calls:,}",
        "tokens": f"{usage.total_tokens:,}",
        "cost": f"{usage.cost_usd:.6f} USD",
        **{f"task {task.name}": task.status for task in run.tasks},
    }


def _diff(a: Run, b: Run) -> str:
    ours, theirs = ((run.output or "").splitlines() for run in (a, b))
    return "\n".join(difflib.unified_diff(ours, theirs, "a", "b", lineterm=""))
