# ruff: noqa: T201
from __future__ import annotations

import contextlib

from crewmesh_worker.runner.output import MAX_LINES, PrintedLines


def test_each_printed_line_is_handed_on_once_it_is_whole() -> None:
    lines: list[str] = []
    printed = PrintedLines(lines.append)
    with contextlib.redirect_stdout(printed):
        print("one\ntw", end="")
        assert lines == ["one"]
        print("o", "three", sep="\n", end="")
        print("\n  \n", end="")
        print("no break", end="")
    printed.finish()
    assert lines == ["one", "two", "three", "no break"]


def test_a_flood_of_lines_ends_with_a_note() -> None:
    lines: list[str] = []
    PrintedLines(lines.append).write("x\n" * (MAX_LINES + 500))
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == "more than 1000 lines were printed; the rest is dropped"
