"""The entry point of `crewmesh`."""

from __future__ import annotations

import contextlib
import os
import sys

import typer

from crewmesh.cli.commands import (
    audit,
    budgets,
    crews,
    datasets,
    keys,
    limits,
    policy,
    runs,
    secrets,
    sessions,
    tools,
    users,
)
from crewmesh.cli.commands.account import password, whoami
from crewmesh.cli.commands.backup import backup
from crewmesh.cli.commands.certs import certs
from crewmesh.cli.commands.chat import chat
from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.commands.doctor import doctor
from crewmesh.cli.commands.init import init
from crewmesh.cli.commands.login import login, logout
from crewmesh.cli.commands.restore import restore
from crewmesh.cli.commands.run import run
from crewmesh.cli.commands.up import up
from crewmesh.cli.commands.usage import usage
from crewmesh.cli.commands.workers import workers
from crewmesh.cli.console import print_error, print_json, say
from crewmesh.cli.errors import exit_status_of
from crewmesh.client.errors import MeshError

app = typer.Typer(
    name="crewmesh",
    help="Run CrewAI crews as a service you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    from importlib.metadata import version as installed_version

    crewmesh = installed_version("crewmesh")
    if as_json:
        print_json({"crewmesh": crewmesh, "python": sys.version.split()[0]})
        return
    say(f"crewmesh {crewmesh}")


app.command()(up)
app.command()(run)
app.command()(chat)
app.add_typer(runs.app, name="runs")
app.add_typer(sessions.app, name="sessions")
app.add_typer(crews.app, name="crews")
app.add_typer(tools.app, name="tools")
app.add_typer(datasets.app, name="datasets")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(audit.app, name="audit")
app.add_typer(limits.app, name="limits")
app.add_typer(secrets.app, name="secrets")
app.add_typer(budgets.app, name="budgets")
app.add_typer(policy.app, name="policy")
app.command()(workers)
app.command()(usage)
app.command()(init)
app.command()(login)
app.command()(logout)
app.command()(whoami)
app.command()(password)
app.command()(doctor)
app.command()(certs)
app.command()(backup)
app.command()(restore)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status; `arguments` are the process's by default."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a mark gets a question mark, never a traceback.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # None in odd hosts
    try:
        app(args=arguments, prog_name="crewmesh")
    except MeshError as error:
        print_error(error)
        return exit_status_of(error)
    except BrokenPipeError:
        # Who read our output has seen enough; keep the interpreter's last flush quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
