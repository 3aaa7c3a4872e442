"""`crewmesh crews`: what can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands import push, versions
from crewmesh.cli.commands.common import (
    CursorOption,
    DataDirOption,
    JsonOption,
    LimitOption,
    call,
    fetch,
    tell_next_page,
)
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.errors import CliError
from crewmesh.cli.text import clean, one_line

if TYPE_CHECKING:
    from crewmesh.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="See which crews can be run, and bring your own.")


@app.command("ls")
def list_crews(
    limit: LimitOption = 200,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """List the crews."""
    page = fetch(data_dir, lambda client: client.crews.list(limit=limit, cursor=cursor))
    if as_json:
        print_json(page)
        return
    rows = [
        [
            crew["name"],
            crew["version"],
            crew["source"].replace("_", "-"),
            one_line(_what(crew), 120),
        ]
        for crew in page["items"]
    ]
    print_table(["CREW", "VERSION", "FROM", "DESCRIPTION"], rows)
    tell_next_page(page, "crewmesh crews ls")


@app.command("show")
def show_crew(
    name: Annotated[str, typer.Argument(help="The crew's name.", autocompletion=completion.crews)],
    version: Annotated[
        str | None,
        typer.Option("--version", help="By default the current one.", show_default=False),
    ] = None,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print its definition, to be changed and pushed.")
    ] = False,
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show a crew: its inputs, agents and tasks, and how to run it."""

    async def act(client: AsyncClient) -> dict[str, Any]:
        from crewmesh.cli.commands.run import get_crew

        return await get_crew(client, name, version)

    crew = call(data_dir, act)
    if as_json:
        print_json(crew)
        return
    if as_yaml:
        if crew["definition"] is None:
            raise CliError(
                f"{name} is a project, which is no definition",
                next_step="look at its files; `crewmesh crews show` tells what it is made of",
            )
        from crewmesh.common.documents import write_yaml

        say(clean(write_yaml(crew["definition"])).rstrip("\n"))
        return
    _print_crew(crew)


app.command("push")(push.push)
app.command("versions")(versions.list_versions)
app.command("diff")(versions.diff)
app.command("rollback")(versions.roll_back)
app.command("rm")(versions.remove)


def _print_crew(crew: dict[str, Any]) -> None:
    from crewmesh.cli.inputs import describe, example

    say(f"{clean(crew['name'])} {clean(crew['version'])}")
    say(clean(crew["description"]).strip() + "\n")
    if crew.get("error"):
        say(f"It can't be run: {clean(crew['error'])}")
        return
    schema = crew["inputs"]
    required = schema.get("required", [])
    rows = [
        [key, "needed" if key in required else _default(prop), describe(prop)]
        for key, prop in schema.get("properties", {}).items()
    ]
    if rows:
        print_table(["INPUT", "", "WHAT"], rows)
        say()
    agents = [[a["role"], one_line(a["goal"], 100), ", ".join(a["tools"])] for a in crew["agents"]]
    # A flow's agents are made by its methods, when they run.
    if agents:
        print_table(["AGENT", "GOAL", "TOOLS"], agents)
        say()
    tasks = [[t["name"], t["agent"], one_line(t["description"], 100)] for t in crew["tasks"]]
    print_table(["TASK", "AGENT", "WHAT"], tasks)
    say(f"\nRun it with: {example(crew['name'], required, schema)}")


def _what(crew: dict[str, Any]) -> str:
    error = crew.get("error")
    return clean(f"can't be run: {error}" if error else crew["description"])


def _default(prop: dict[str, Any]) -> str:
    if "default" not in prop:
        return "optional"
    default = prop["default"]
    return f"default {'empty' if default in ('', [], {}) else one_line(str(default), 40)}"
