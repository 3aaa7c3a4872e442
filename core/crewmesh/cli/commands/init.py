"""`crewmesh init`: a project to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crewmesh.cli.commands.common import JsonOption
from crewmesh.cli.console import print_json, say


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A new or an empty directory; by default here.")
    ] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a project that works as it is: a crew, a test of it, and a compose file.

    Nothing that is there is changed: a file in the way is said, and nothing is written.
    """
    from importlib.resources import files

    from crewmesh.cli.errors import UsageError

    templates = files("crewmesh.cli.project").joinpath("files")
    written = {
        directory / template.name.removesuffix(".txt"): template.read_text("utf-8")
        for template in sorted(templates.iterdir(), key=lambda template: template.name)
    }
    in_the_way = [str(path) for path in written if path.exists()]
    if in_the_way:
        raise UsageError(
            f"{directory} has a project already",
            details=in_the_way,
            next_step="name another directory: crewmesh init DIR",
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in written.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"can't write to {directory}",
            why=error.strerror or str(error),
            next_step="name a directory of yours: crewmesh init DIR",
        ) from None
    if as_json:
        print_json({"directory": str(directory), "files": [str(path) for path in written]})
        return
    for path in written:
        say(f"wrote {path}")
    say(f"\nServe it with:  crewmesh up --crews {directory}")
    say('then run it:    crewmesh run greeter -i name="Ana"')
    say(f"and test it:    pytest {directory}")
