"""Every service is restarted in turn, while clients start, watch and cancel runs."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.e2e.conftest import ROOT

pytestmark = [pytest.mark.long, pytest.mark.unmeasured]

_SECONDS = 580


@pytest.mark.timeout(600)
async def test_rolling_restarts_under_load_lose_nothing_and_show_at_most_a_reconnect() -> None:
    # In a process of its own: its mesh has a file system of its own.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.rolling"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        # Before pytest's own limit, which would leave the process to go on.
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()  # its mesh ends with it
            await process.wait()
    assert process.returncode == 0, output.decode()
