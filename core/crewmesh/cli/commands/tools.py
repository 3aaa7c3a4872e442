"""`crewmesh tools`: what agents may use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crewmesh.cli import completion
from crewmesh.cli.commands.common import DataDirOption, JsonOption, fetch
from crewmesh.cli.console import print_json, print_table, say
from crewmesh.cli.text import clean, one_line

app = typer.Typer(no_args_is_help=True, help="See which tools agents may use.")


@app.command("ls")
def list_tools(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """List the tools that a definition may name."""
    page = _get_tools(data_dir)
    if as_json:
        print_json(page)
        return
    rows = [
        [tool["name"], "once" if tool["side_effects"] else "", one_line(tool["description"], 120)]
        for tool in page["items"]
    ]
    print_table(["TOOL", "ACTS", "WHAT"], rows)


@app.command("show")
def show_tool(
    name: Annotated[
        str,
        typer.Argument(metavar="TOOL", help="The tool's name.", autocompletion=completion.tools),
    ],
    as_json: JsonOption = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show a tool: what it does and what it takes."""
    from crewmesh.cli.errors import UsageError
    from crewmesh.cli.inputs import describe

    tools = {tool["name"]: tool for tool in _get_tools(data_dir)["items"]}
    if name not in tools:
        raise UsageError(
            f"there is no tool {name!r}",
            why="the tools here are " + ", ".join(tools),
            next_step="`crewmesh tools ls` tells what each of them does",
        )
    tool = tools[name]
    if as_json:
        print_json(tool)
        return
    say(clean(tool["name"]))
    say(clean(tool["description"]).strip())
    if tool["side_effects"]:
        say("It acts outside of its run: the same call is made once, however often that begins.")
    schema = tool["arguments"]
    required = schema.get("required", [])
    rows = [
        [key, "needed" if key in required else "optional", one_line(describe(prop), 120)]
        for key, prop in schema.get("properties", {}).items()
    ]
    if rows:
        say()
        print_table(["ARGUMENT", "", "WHAT"], rows)


def _get_tools(data_dir: Path | None) -> dict[str, Any]:
    return fetch(data_dir, lambda client: client.tools.list())
