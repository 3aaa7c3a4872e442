"""The reference of the command line is what the command line says of itself."""

from __future__ import annotations

import re

from core.make_cli_reference import MARK, PAGE, reference

from crewmesh.cli.errors import ExitStatus


def test_the_page_has_every_command_and_option() -> None:
    assert PAGE.read_text("utf-8").partition(MARK)[2].lstrip() == reference(), (
        "run `make cli-reference`"
    )


def test_the_page_has_every_exit_status() -> None:
    told = re.findall(r"^\| (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [int(status) for status in told] == sorted(ExitStatus)
