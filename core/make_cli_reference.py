"""Write the command line's reference from the command line: `make cli-reference`."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from crewmesh.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "command-line.md"
MARK = "<!-- From here on made by `make cli-reference`. -->\n"


def reference() -> str:
    """Return every command with its arguments and options, as Markdown."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="crewmesh")
    text = get_docs_for_click(obj=command, ctx=context, name="crewmesh")
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


if __name__ == "__main__":
    head = PAGE.read_text("utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + reference(), "utf-8")
