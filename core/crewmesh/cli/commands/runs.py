"""`crewmesh runs`: look at runs, follow them, cancel them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import (
    CursorOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    call,
    fetch,
    tell_next_page,
)
from crewmesh.cli.console import print_json, print_markdown, print_table, say
from crewmesh.cli.text import ago, clean, duration, one_line, parse_time, plural

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Look at runs, follow them, cancel them.")

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@app.command("ls")
def list_runs(
    status: Annotated[
        str | None, typer.Option("--status", help="Only with this status.", show_default=False)
    ] = None,
    crew: Annotated[
        str | None, typer.Option("--crew", help="Only of this crew.", show_default=False)
    ] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List runs, newest first."""
    page = fetch(
        data_dir,
        lambda client: client.runs.list(status=status, crew=crew, limit=limit, cursor=cursor),
    )
    if as_json:
        print_json(page)
        return
    rows = [
        [
            run["id"],
            run["crew"],
            run["status"],
            ago(run["created_at"]),
            _took(run),
            f"{(run.get('usage') or {}).get('total_tokens', 0):,}",
        ]
        for run in page["items"]
    ]
    if not rows:
        say("No runs yet. Start one with: crewmesh run CREW")
        return
    print_table(["RUN", "CREW", "STATUS", "CREATED", "TOOK", "TOKENS"], rows)
    tell_next_page(page, "crewmesh runs ls")


@app.command("show")
def show_run(
    run_id: RunArgument, as_json: JsonOption = False, data_dir: DataDirOption = None
) -> None:
    """Show a run: its state, tasks, artifacts and answer."""

    async def act(client: AsyncClient) -> tuple[dict[str, Any], dict[str, Any]]:
        run = await client.runs.get(_id(run_id))
        return run.raw, (await client.runs.artifacts(run.id)).raw

    run, artifacts = call(data_dir, act)
    if as_json:
        print_json({**run, "artifacts": artifacts["items"]})
        return
    _print_facts(run)
    _print_parts(run, artifacts["items"])
    if text := run["output"] or run.get("output_partial"):
        say()
        print_markdown(text)


@app.command("watch")
def watch(run_id: RunArgument, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Follow a run live, from its first event; the exit status is that of `crewmesh run`.

    Ctrl-C stops watching; the run goes on.
    """

    async def act(client: AsyncClient) -> int:
        from crewmesh.cli.live.outcome import finish
        from crewmesh.cli.live.session import watch_run

        state = await watch_run(client, (await client.runs.get(_id(run_id))).raw, as_json=as_json)
        return await finish(client, state, save_dir=None, as_json=as_json)

    raise typer.Exit(call(data_dir, act))


@app.command("cancel")
def cancel(
    run_id: RunArgument,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the run.")] = "",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Cancel a run; harmless when it has ended."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.runs.cancel(_id(run_id), reason=reason)).raw

    run = call(data_dir, act)
    if as_json:
        print_json(run)
    elif run["status"] in ("queued", "running", "waiting"):
        say(f"Run {run['id']} is being cancelled.")
    else:
        say(f"Run {run['id']} has ended: {run['status']}.")


def _id(text: str) -> str:
    from uuid import UUID

    from crewmesh.cli.errors import UsageError

    try:
        return str(UUID(text))
    except ValueError:
        raise UsageError(
            f"{text!r} is no run's id", next_step="`crewmesh runs ls` lists runs with their ids"
        ) from None


def _took(run: dict[str, Any]) -> str:
    if not run["started_at"] or not run["finished_at"]:
        return ""
    seconds = parse_time(run["finished_at"]) - parse_time(run["started_at"])
    return duration(seconds.total_seconds())


def _print_facts(run: dict[str, Any]) -> None:
    usage = run.get("usage") or {}
    facts = {
        "run": run["id"],
        "crew": f"{run['crew']} {run['crew_version']}",
        "status": run["status"],
        "created": f"{run['created_at']} ({ago(run['created_at'])})",
        "took": _took(run),
        "attempts": f"{run['attempt']} of {run['max_attempts']}",
        "worker": run.get("worker_id") or "",
        "usage": f"{plural(usage.get('total_tokens', 0), 'token')} in "
        f"{plural(usage.get('model_calls', 0), 'model call')}{_cost(usage)}",
        "inputs": ", ".join(f"{k}={one_line(str(v), 80)}" for k, v in run["inputs"].items()),
        "error": ": ".join(filter(None, (run["error"] or {}).values())),
    }
    for name, value in facts.items():
        if value:
            say(f"{name:<9} {clean(str(value))}")


def _cost(usage: dict[str, Any]) -> str:
    cost = f", {usage['cost_usd']:.6f} USD" if usage.get("cost_usd") else ""
    unpriced = usage.get("unpriced_calls", 0)
    return cost + (f", {plural(unpriced, 'call')} of unknown price" if unpriced else "")


def _print_parts(run: dict[str, Any], artifacts: list[dict[str, Any]]) -> None:
    if run.get("tasks"):
        say()
        rows = [[task["name"], task["agent"], task["status"], _took(task)] for task in run["tasks"]]
        print_table(["TASK", "AGENT", "STATUS", "TOOK"], rows)
    if artifacts:
        say()
        rows = [[item["name"], item["media_type"], item["url"]] for item in artifacts]
        print_table(["ARTIFACT", "TYPE", "WHERE"], rows)
