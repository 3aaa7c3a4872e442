"""`crewmesh policy`: what an organisation's runs may use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption, call, fetch
from crewmesh.cli.console import print_json, say
from crewmesh.cli.errors import UsageError
from crewmesh.client.errors import InvalidInputError as RefusedError

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="See and set what your organisation's runs may use.")

_STANDARD_INPUT = Path("-")


@app.command("show")
def show_policy(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Show the whole policy, as YAML that `policy set` takes."""
    _print(fetch(data_dir, lambda client: client.policy.get()), as_json)


@app.command("set")
def set_policy(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The whole policy in YAML or JSON; - reads standard input. What it leaves out "
            "allows everything public.",
        ),
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Set the policy, instead of the earlier one; everything wrong with it is listed."""
    policy = _read_policy(path)

    async def act(client: AsyncClient) -> dict[str, Any]:
        try:
            return (await client.policy.set(policy)).raw
        except RefusedError as error:
            raise UsageError(
                "the policy can't be set",
                why=error.what,
                details=error.details,
                next_step="correct it and set it again; see docs/how-to/budgets.md",
            ) from None

    answer = call(data_dir, act)
    if not as_json:
        say("# It holds for attempts that begin from now on.")
    _print(answer, as_json)


def _read_policy(path: Path) -> dict[str, Any]:
    from crewmesh.common.documents import read_yaml
    from crewmesh.common.errors import InvalidInputError

    try:
        # JSON is YAML, too.
        policy = read_yaml(_read_text(path))
    except InvalidInputError as error:
        raise UsageError(
            f"{path} can't be read",
            details=[f"{fault.field}: {fault.message}" for fault in error.violations],
            next_step="correct it and set it again",
        ) from error
    if not isinstance(policy, dict):
        raise UsageError(
            f"{path} is no policy",
            why="it isn't a mapping of models, tools, hosts, approval and run_budget",
            next_step="begin with what holds now: crewmesh policy show > policy.yaml",
        )
    return policy


def _read_text(path: Path) -> str:
    try:
        if path == _STANDARD_INPUT:
            return sys.stdin.read()
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", next_step="save it as UTF-8") from error
    except OSError as error:
        raise UsageError(
            f"can't read {path}",
            why=error.strerror or "",
            next_step="check the path, or begin with: crewmesh policy show > policy.yaml",
        ) from error


def _print(policy: dict[str, Any], as_json: bool) -> None:
    from crewmesh.common.documents import write_yaml

    if as_json:
        print_json(policy)
        return
    say(write_yaml(policy).rstrip("\n"))
