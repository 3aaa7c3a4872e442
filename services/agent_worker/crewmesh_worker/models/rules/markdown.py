"""Tables and sections in Markdown, written and read back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_CELL_END = re.compile(r"(?<!\\)\|")
_FENCE = re.compile(r"```sql\n(.*?)\n```", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """A `###` section: its text, and the SQL block and the table that it holds."""

    heading: str
    text: str
    sql: str
    table: list[dict[str, str]]


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; None is an empty cell."""
    lines = [_write_row(columns), _write_row(["---"] * len(columns))]
    return "\n".join([*lines, *map(_write_row, rows)])


def read_tables(markdown: str) -> list[list[dict[str, str]]]:
    """Return the tables of a text, each as records of cell texts."""
    tables: list[list[dict[str, str]]] = []
    block: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            block.append(_read_row(line))
        elif block:
            columns, _, *rows = block
            tables.append([dict(zip(columns, row, strict=False)) for row in rows])
            block = []
    return tables


def read_sections(markdown: str) -> list[Section]:
    """Return the `###` sections of a text, in order."""
    sections = []
    for part in re.split(r"^### ", markdown, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        fence = _FENCE.search(body)
        tables = read_tables(body)
        sections.append(
            Section(
                heading.strip(),
                (body[: fence.start()] if fence else body).strip(),
                fence.group(1) if fence else "",
                tables[0] if tables else [],
            )
        )
    return sections


def _write_row(cells: Sequence[Any]) -> str:
    texts = ("" if cell is None else str(cell) for cell in cells)
    return "| " + " | ".join(t.replace("|", "\\|").replace("\n", " ") for t in texts) + " |"


def _read_row(line: str) -> list[str]:
    cells = _CELL_END.split(line.strip().removeprefix("|").removesuffix("|"))
    return [cell.strip().replace("\\|", "|") for cell in cells]
