"""What commands print: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crewmesh.cli.text import clean
from crewmesh.client.errors import MeshError

if TYPE_CHECKING:
    from rich.console import Console


def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return Console(highlight=False)


def stderr() -> Console:
    """Return the console for progress and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(line: str = "") -> None:
    """Print one line of a result as it is, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(line: str) -> None:
    """Print one line of progress as it is, at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print a result for programs."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print one of many results for programs."""
    say(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their headings; a column never wraps where a program reads it."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=None, pad_edge=False, header_style="dim")
        for column in table.columns:
            column.overflow = "fold"
        for row in cells:
            table.add_row(*map(Text, row))
        stdout().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(padded).rstrip())


def print_markdown(text: str) -> None:
    """Print an answer: rendered at a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        say(clean(text))
        return
    from rich.markdown import Markdown

    # Links show their address: a model's text can't hide where one leads.
    stdout().print(Markdown(clean(text), hyperlinks=False))


def print_error(error: MeshError) -> None:
    """Tell what happened, why, and what to do next."""
    from rich.text import Text

    console = stderr()
    lines = [Text.assemble(("error: ", "bold red"), clean(error.what))]
    if error.why:
        lines.append(Text.assemble(("  why:  ", "dim"), clean(error.why)))
    lines += [Text.assemble(("        - ", "dim"), clean(detail)) for detail in error.details]
    if error.next_step:
        lines.append(Text.assemble(("  next: ", "green"), clean(error.next_step)))
    for line in lines:
        console.print(line, soft_wrap=True)
