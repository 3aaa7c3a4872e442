"""`crewmesh runs`: find runs, look at them, follow and steer them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands import compare, events, steering
from crewmesh.cli.commands.common import (
    CursorOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    call,
    fetch,
    tell_next_page,
)
from crewmesh.cli.commands.ids import RunArgument, run_id
from crewmesh.cli.commands.users import user_id
from crewmesh.cli.console import print_json, print_markdown, print_table, say
from crewmesh.cli.text import ago, clean, duration, one_line, parse_time, plural

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient, Page, Run

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]

app = typer.Typer(no_args_is_help=True, help="Find runs, look at them, follow and steer them.")


@app.command("ls")
def list_runs(
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            help="Only with this status.",
            show_default=False,
            autocompletion=completion.statuses,
        ),
    ] = None,
    crew: Annotated[
        str | None,
        typer.Option(
            "--crew", help="Only of this crew.", show_default=False, autocompletion=completion.crews
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="Only of this one.",
            show_default=False,
            autocompletion=completion.sessions,
        ),
    ] = None,
    after: Annotated[
        datetime | None,
        typer.Option("--after", formats=TIMES, help="Created then or later.", show_default=False),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option("--before", formats=TIMES, help="Created before then.", show_default=False),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text",
            metavar="WORDS",
            help="Only those whose crew, inputs, answer or error have words that begin so.",
            show_default=False,
        ),
    ] = None,
    webhook: Annotated[
        Literal["waiting", "due", "delivered", "failed"] | None,
        typer.Option("--webhook", help="Only those whose webhook stands so.", show_default=False),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="USER",
            help="Only those that this user has started: an e-mail address, an id, or me.",
            show_default=False,
            autocompletion=completion.users,
        ),
    ] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List runs, newest first, or find them: by status, crew, time, text and who started them."""

    async def ask(client: AsyncClient) -> Page[Run]:
        return await client.runs.list(
            status=status,
            crew=crew,
            session_id=session,
            created_after=after and after.astimezone(),
            created_before=before and before.astimezone(),
            text=text,
            webhook=webhook,
            created_by=by and await user_id(client, by),
            limit=limit,
            cursor=cursor,
        )

    page = fetch(data_dir, ask)
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
        found = any((status, crew, session, after, before, text, webhook, by))
        say("No such runs." if found else "No runs yet. Start one with: crewmesh run CREW")
        return
    print_table(["RUN", "CREW", "STATUS", "CREATED", "TOOK", "TOKENS"], rows)
    tell_next_page(page, "crewmesh runs ls")


@app.command("show")
def show_run(run: RunArgument, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show a run: its state, tasks, artifacts and answer."""
    known = run_id(run)

    async def act(client: AsyncClient) -> tuple[dict[str, Any], dict[str, Any]]:
        shown = await client.runs.get(known)
        return shown.raw, (await client.runs.artifacts(known)).raw

    shown, artifacts = call(data_dir, act)
    if as_json:
        print_json({**shown, "artifacts": artifacts["items"]})
        return
    _print_facts(shown)
    _print_parts(shown, artifacts["items"])
    if text := shown["output"] or shown.get("output_partial"):
        say()
        print_markdown(text)


@app.command("watch")
def watch(run: RunArgument, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Follow a run live, from its first event; the exit status is that of `crewmesh run`.

    Ctrl-C stops watching; the run goes on.
    """
    known = run_id(run)

    async def act(client: AsyncClient) -> int:
        from crewmesh.cli.live.outcome import finish
        from crewmesh.cli.live.session import watch_run

        state = await watch_run(client, (await client.runs.get(known)).raw, as_json=as_json)
        return await finish(client, state, save_dir=None, as_json=as_json)

    raise typer.Exit(call(data_dir, act))


@app.command("cancel")
def cancel(
    run: RunArgument,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the run.")] = "",
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Cancel a run; harmless when it has ended."""
    known = run_id(run)

    async def act(client: AsyncClient) -> dict[str, Any]:
        return (await client.runs.cancel(known, reason=reason)).raw

    cancelled = call(data_dir, act)
    if as_json:
        print_json(cancelled)
    elif cancelled["status"] in ("queued", "running", "waiting"):
        say(f"Run {known} is being cancelled.")
    else:
        say(f"Run {known} has ended: {cancelled['status']}.")


app.command("events")(events.events)
app.command("artifacts")(events.artifacts)
app.command("artifact")(events.artifact)
app.command("retry")(steering.retry)
app.command("answer")(steering.answer)
app.command("compare")(compare.compare)


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
        "webhook": _webhook(run.get("webhook")),
        "error": ": ".join(filter(None, (run["error"] or {}).values())),
    }
    for name, value in facts.items():
        if value:
            say(f"{name:<9} {clean(str(value))}")


def _webhook(state: dict[str, Any] | None) -> str:
    if state is None:
        return ""
    last = state.get("last_error") or state.get("last_status") or ""
    return (
        f"{state['url']}: {state['status']}, tried {plural(state['tries'], 'time')} {last}".rstrip()
    )


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
