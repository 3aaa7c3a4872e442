"""`crewmesh runs`: look at runs, follow them, answer what they ask, cancel them."""

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
    from crewmesh.cli.chat.question import Question
    from crewmesh.cli.client import MeshClient

app = typer.Typer(
    no_args_is_help=True, help="Look at runs, follow them, answer what they ask, cancel them."
)

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
    page = fetch(data_dir, "/v1/runs", status=status, crew=crew, limit=limit, cursor=cursor)
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

    async def act(client: MeshClient) -> tuple[dict[str, Any], dict[str, Any], Question | None]:
        from crewmesh.cli.chat.question import Question

        run = await client.get(_path(run_id))
        artifacts = await client.get(_path(run_id) + "/artifacts")
        return run, artifacts, await Question.open_of(client, run)

    run, artifacts, question = call(data_dir, act)
    if as_json:
        print_json({**run, "artifacts": artifacts["items"]})
        return
    _print_facts(run)
    _print_parts(run, artifacts["items"])
    if text := run["output"] or run.get("output_partial"):
        say()
        print_markdown(text)
    if question is not None:
        say()
        _print_question(question)


@app.command("answer")
def answer(
    run_id: RunArgument,
    text: Annotated[
        str | None,
        typer.Argument(
            help="y or n where something is to be approved, or what to change; else the answer. "
            "Without it, what the run asks is shown.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Answer what a waiting run asks a person, once; the run goes on."""
    if text is not None and not text.strip():
        from crewmesh.cli.errors import UsageError

        raise UsageError("an answer says something", next_step="give it as one word in quotes")

    async def act(client: MeshClient) -> Question:
        question = await _question(client, run_id)
        if text is not None:
            await client.answer_run(question.run_id, question.answered_by(text))
        return question

    question = call(data_dir, act)
    if as_json:
        asked = {"run_id": question.run_id, "seq": question.seq, **question.payload}
        print_json({"asked": asked, "answer": question.answered_by(text) if text else None})
    elif text is None:
        _print_question(question)
    else:
        say(f"Answered. Watch it with: crewmesh runs watch {question.run_id}")


@app.command("watch")
def watch(run_id: RunArgument, as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Follow a run live, from its first event; the exit status is that of `crewmesh run`.

    Ctrl-C stops watching; the run goes on.
    """

    async def act(client: MeshClient) -> int:
        from crewmesh.cli.live.outcome import finish
        from crewmesh.cli.live.session import watch_run

        state = await watch_run(client, await client.get(_path(run_id)), as_json=as_json)
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

    async def act(client: MeshClient) -> dict[str, Any]:
        return await client.cancel_run(_id(run_id), reason)

    run = call(data_dir, act)
    if as_json:
        print_json(run)
    elif run["status"] in ("queued", "running", "waiting"):
        say(f"Run {run['id']} is being cancelled.")
    else:
        say(f"Run {run['id']} has ended: {run['status']}.")


async def _question(client: MeshClient, run_id: str) -> Question:
    from crewmesh.cli.chat.question import Question
    from crewmesh.cli.errors import CliError

    run = await client.get(_path(run_id))
    question = await Question.open_of(client, run)
    if question is None:
        raise CliError(
            f"run {run['id']} asks nobody anything: it is {run['status'].replace('_', ' ')}",
            next_step="`crewmesh runs ls --status waiting` lists the runs that do",
        )
    return question


def _print_question(question: Question) -> None:
    for line in question.lines(with_draft=True):
        say(line)
    choice = question.hint.rstrip("> ")
    say(f"\nAnswer with: crewmesh runs answer {question.run_id} ANSWER ({choice})")


def _id(text: str) -> str:
    from uuid import UUID

    from crewmesh.cli.errors import UsageError

    try:
        return str(UUID(text))
    except ValueError:
        raise UsageError(
            f"{text!r} is no run's id", next_step="`crewmesh runs ls` lists runs with their ids"
        ) from None


def _path(run_id: str) -> str:
    return f"/v1/runs/{_id(run_id)}"


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
