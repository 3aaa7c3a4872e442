"""The command line: every command with its arguments and options, of what parses them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from crewmesh.cli.main import app

_HEAD = """\
# Command line

`crewmesh COMMAND --help` says the same. `--json` gives output for programs. Errors say what happened, why and what to do next, on stderr.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_sections(typer.main.get_command(app), "crewmesh")])


def _sections(command: Any, name: str) -> Iterator[str]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield _section(command, name)
        return
    for key in sorted(subcommands):
        if not subcommands[key].hidden:
            yield from _sections(subcommands[key], f"{name} {key}")


def _section(command: Any, name: str) -> str:
    parts = [f"## {name}\n", (command.help or "").split("\f")[0].strip() + "\n"]
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", 0)]
    if rows:
        parts += ["| | |", "| --- | --- |", *rows, ""]
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        metavar = (parameter.metavar or parameter.name or "").upper()
        name = f"`{metavar}`" if parameter.required else f"`[{metavar}]`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    text = " ".join((getattr(parameter, "help", None) or "").split())
    default = parameter.default
    if getattr(parameter, "show_default", False) and default not in (None, False, "", ()):
        text += f" Default: `{default() if callable(default) else default}`."
    return f"| {name} | {text.replace('|', chr(92) + '|')} |"
