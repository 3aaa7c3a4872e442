"""`crewmesh up --demo`: the data-analyst crew on a data set that came with a package."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from pathlib import Path
from typing import Any

from rich.text import Text

from crewmesh.cli.client import open_client
from crewmesh.cli.commands.run import get_crew, upload
from crewmesh.cli.connection import Connection
from crewmesh.cli.console import say, stderr
from crewmesh.cli.errors import CliError, ExitStatus
from crewmesh.cli.live.display import choose_display, follow
from crewmesh.cli.live.outcome import exit_status, print_outcome, save_files
from crewmesh.cli.live.state import RunState, from_run
from crewmesh.cli.mesh.directory import MeshDirectory
from crewmesh.client import AsyncClient, NotFoundError

CREW = "data-analyst"
DATASET = "seattle-weather"
QUESTION = "How do temperature and rain change over the year, and which month is the wettest?"


async def run_demo(connection: Connection, directory: MeshDirectory) -> ExitStatus:
    """Run the crew with a live view, save its files, and return the run's exit status.

    Cancelled, it asks for the run to be cancelled too.
    """
    if not connection.api_key:
        raise CliError(
            "the demo needs the owner's API key",
            why=f"{directory.api_key_file} is gone",
            next_step="put it back, or start the demo with another --data-dir",
        )
    async with open_client(connection) as client:
        crew = await get_crew(client, CREW)
        dataset = await _find_or_upload(client)
        _announce()
        inputs = {"data": dataset["id"], "question": QUESTION}
        run = (await client.runs.start(CREW, inputs)).raw
        state = await _follow(client, from_run(run, crew["tasks"]))
        await print_outcome(client, state)
        if state.status == "succeeded":
            shutil.rmtree(directory.demo, ignore_errors=True)
            say("\nThe answer, the report and the charts are in\n")
            for path in await save_files(client, state, directory.demo):
                say(f"  {path}")
        return exit_status(state)


def _announce() -> None:
    console = stderr()
    text = Text.assemble((f"\nThe {CREW} crew is asked about {DATASET}:\n", "bold"), QUESTION, "\n")
    console.print(text, soft_wrap=not console.is_terminal)


async def _follow(client: AsyncClient, state: RunState) -> RunState:
    try:
        return await follow(client, state, choose_display(client, as_json=False))
    except asyncio.CancelledError:
        await client.runs.cancel(state.run_id, reason="the mesh was stopped")
        raise


async def _find_or_upload(client: AsyncClient) -> dict[str, Any]:
    try:
        return (await client.datasets.get(DATASET)).raw
    except NotFoundError:
        return await upload(client, _sample_file(), DATASET)


def _sample_file() -> Path:
    # Found, not imported: the package would import pandas.
    spec = importlib.util.find_spec("vega_datasets")
    if spec is None or spec.origin is None:
        raise CliError(
            "the demo's data set is not here",
            why="the package vega_datasets is not installed",
            next_step="install crewmesh with its extra: pip install 'crewmesh[embedded]'",
        )
    return Path(spec.origin).parent / "_data" / f"{DATASET}.csv"
