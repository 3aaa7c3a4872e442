"""`crewmesh doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from crewmesh.cli.commands.common import DataDirOption, JsonOption
from crewmesh.cli.console import print_json, say, stdout

if TYPE_CHECKING:
    from crewmesh.cli.diagnosis.finding import Finding

_MARKS = {"ok": ("✔", "green"), "warning": ("!", "yellow"), "fault": ("✘", "red")}


def doctor(as_json: JsonOption = False, data_dir: DataDirOption = None) -> None:
    """Check this machine and the mesh; say for each fault what to do next.

    Exit status: 0 nothing is broken, 1 something is.
    """
    import asyncio
    from dataclasses import asdict

    findings = asyncio.run(_examine(data_dir))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print(findings)
    raise typer.Exit(int(any(finding.state == "fault" for finding in findings)))


async def _examine(data_dir: Path | None) -> list[Finding]:
    import os
    from importlib.metadata import version

    from crewmesh.cli.connection import default_data_dir
    from crewmesh.cli.diagnosis.machine import check_machine
    from crewmesh.cli.diagnosis.mesh import check_mesh

    local = (data_dir or default_data_dir()).expanduser().absolute()
    return [
        *check_machine(local, os.environ),
        *await check_mesh(data_dir, version("crewmesh")),
    ]


def _print(findings: list[Finding]) -> None:
    from rich.text import Text

    from crewmesh.cli.text import clean

    console = stdout()
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        mark, style = _MARKS[finding.state]
        line = Text.assemble((f"{mark} ", style), finding.check.ljust(width), "  ")
        console.print(line.append(clean(finding.detail)), soft_wrap=True)
        if finding.next_step:
            step = Text.assemble(" " * (width + 4), ("next: ", "green"), clean(finding.next_step))
            console.print(step, soft_wrap=True)
    faults = sum(finding.state == "fault" for finding in findings)
    say("\nNothing is broken." if not faults else f"\nBroken: {faults}. Do the next steps above.")
