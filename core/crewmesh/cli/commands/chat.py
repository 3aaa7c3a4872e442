"""`crewmesh chat`: talk with a crew."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, TimeoutOption
from crewmesh.cli.console import print_error, print_json_line, tell
from crewmesh.cli.errors import ExitStatus, UsageError, exit_status_of
from crewmesh.client.errors import MeshError

if TYPE_CHECKING:
    import asyncio

    from crewmesh.cli.chat.conversation import Conversation
    from crewmesh.cli.chat.question import Question
    from crewmesh.client import AsyncClient

_DEFAULT_CREW = "assistant"
_ENDS = ("/exit", "/quit")


def chat(
    crew: Annotated[
        str | None,
        typer.Argument(
            help=f"The crew's name; {_DEFAULT_CREW} by default.",
            show_default=False,
            autocompletion=completion.crews,
        ),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="Go on with this one.",
            show_default=False,
            autocompletion=completion.sessions,
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="KEY=VALUE",
            help="An input besides the message.",
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--file",
            metavar="KEY=@FILE",
            help="A file for an input that is a dataset.",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", help="What the conversation is about.", show_default=False),
    ] = None,
    timeout: TimeoutOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Talk with a crew: each line is a message, and the crew knows what was said before.

    Where the crew asks a person first, the next line is the answer: y, n, or what to change.
    Ctrl-C stops an answer; Ctrl-D or /exit ends. From a pipe, each line is a message, answers
    go to stdout, and the first that fails ends it with the exit status of `crewmesh run`.
    """
    import asyncio

    from crewmesh.cli.client import open_client
    from crewmesh.cli.connection import resolve_connection

    if crew is not None and session is not None:
        raise UsageError("a session has its crew already", next_step="leave one of them out")
    if session is not None and (inputs or files):
        raise UsageError("a session has its inputs already", next_step="leave -i and -f out")
    if session is not None and title is not None:
        raise UsageError("a session has its title already", next_step="leave --title out")
    interactive = sys.stdin.isatty() and not as_json
    with asyncio.Runner() as runner:
        client = open_client(resolve_connection(data_dir))
        runner.run(client.__aenter__())
        try:
            if session is not None:
                begun = _go_on(client, session)
            else:
                begun = _begin(
                    client, crew or _DEFAULT_CREW, title or "", inputs or [], files or []
                )
            conversation = _converse(client, runner.run(begun), timeout, live=not as_json)
            status = _talk(runner, conversation, interactive=interactive, as_json=as_json)
        finally:
            runner.run(client.__aexit__(None, None, None))
    raise typer.Exit(status)


async def _go_on(client: AsyncClient, session: str) -> dict[str, Any]:
    from crewmesh.cli.commands.sessions import session_id

    return (await client.sessions.get(session_id(session))).raw


async def _begin(
    client: AsyncClient, crew: str, title: str, pairs: list[str], files: list[str]
) -> dict[str, Any]:
    from crewmesh.cli.commands.run import get_crew, upload
    from crewmesh.cli.inputs import parse_files, parse_inputs

    schema = (await get_crew(client, crew))["inputs"]
    values = parse_inputs(pairs, schema)
    for key, path in parse_files(files, schema).items():
        values[key] = (await upload(client, path, path.stem))["id"]
    return (await client.sessions.create(crew, inputs=values, title=title)).raw


def _converse(
    client: AsyncClient, session: dict[str, Any], timeout: int | None, *, live: bool
) -> Conversation:
    from crewmesh.cli.chat.conversation import Conversation

    def write(text: str) -> None:
        if live:
            sys.stdout.write(text)
            sys.stdout.flush()

    shown = live and sys.stdout.isatty()
    return Conversation(client, session, write, live=shown, timeout_seconds=timeout)


def _talk(
    runner: asyncio.Runner, conversation: Conversation, *, interactive: bool, as_json: bool
) -> int:
    session = conversation.session
    if interactive:
        tell(f"Talking with {session['crew']}. Ctrl-C stops an answer, Ctrl-D ends.")
    question = runner.run(conversation.find_question())
    while True:
        if question is not None:
            _show(question, conversation, as_json=as_json)
        try:
            line = _read_line(question.hint if question else "> ", interactive=interactive)
        except KeyboardInterrupt:
            if not interactive:
                return ExitStatus.INTERRUPTED
            if question is not None:
                runner.run(conversation.cancel())
            tell("\nCancelled." if question is not None else "")
            question = None
            continue
        if line is None:
            return _end(session, question, interactive=interactive)
        question, status = _exchange(runner, conversation, question, line, as_json=as_json)
        if status != ExitStatus.OK and not interactive:
            return status


def _exchange(
    runner: asyncio.Runner,
    conversation: Conversation,
    question: Question | None,
    line: str,
    *,
    as_json: bool,
) -> tuple[Question | None, int]:
    """Say a line, or answer the question with it; return what is asked next, and how it went."""
    try:
        said = conversation.reply(question, line) if question else conversation.say(line)
        outcome = runner.run(said)
    except KeyboardInterrupt:
        tell("\nCancelled.")
        return None, ExitStatus.INTERRUPTED
    except MeshError as error:
        print_error(error)
        return None, exit_status_of(error)
    if not isinstance(outcome, dict):
        return outcome, ExitStatus.OK
    if as_json:
        print_json_line(outcome)
    return None, ExitStatus.OK


def _end(session: dict[str, Any], question: Question | None, *, interactive: bool) -> int:
    from crewmesh.cli.chat.conversation import waiting

    if question is not None:
        error = waiting(session, question)
        print_error(error)
        return ExitStatus.OK if interactive else error.exit_status
    if interactive:
        tell(f"Go on later with: crewmesh chat --session {session['id']}")
    return ExitStatus.OK


def _show(question: Question, conversation: Conversation, *, as_json: bool) -> None:
    if as_json:
        asked = {"run_id": question.run_id, "seq": question.seq, **question.payload}
        print_json_line({"asked": asked})
        return
    tell("")
    for line in question.lines(with_draft=not conversation.has_shown(question.draft)):
        tell(line)


def _read_line(prompt: str, *, interactive: bool) -> str | None:
    """Return the next line that says something; None at the end.

    Raises KeyboardInterrupt.
    """
    if interactive:
        import readline  # noqa: F401 - input() edits lines and recalls earlier ones with it
    while True:
        try:
            line = input(prompt) if interactive else sys.stdin.readline()
        except EOFError:
            tell("")
            return None
        if (not interactive and not line) or line.strip() in _ENDS:
            return None
        if line.strip():
            return line.strip()
