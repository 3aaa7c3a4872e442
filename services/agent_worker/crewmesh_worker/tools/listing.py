"""The tools that definitions may name, as clients see them."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import structlog

from crewmesh.common.errors import CrewmeshError
from crewmesh.v1 import agent_pb2
from crewmesh_worker.runner.environment import zygote_environment

log = structlog.get_logger(__name__)


class ToolListing:
    """Asks once what the tools are, and remembers it: they change with the code only."""

    def __init__(self) -> None:
        self._asking: asyncio.Task[list[agent_pb2.Tool]] | None = None

    async def tools(self) -> list[agent_pb2.Tool]:
        """Return the tools by name."""
        if self._asking is None or (self._asking.done() and self._asking.exception()):
            self._asking = asyncio.create_task(_describe())
        return await asyncio.shield(self._asking)


async def _describe() -> list[agent_pb2.Tool]:
    with tempfile.TemporaryDirectory(prefix="crewmesh-tools-") as home:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crewmesh_worker.tools.describe",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=zygote_environment("tools", Path(home)),
        )  # fmt: skip
        out, err = await process.communicate()
    if process.returncode != 0:
        log.error("the tools can't be described", error=err.decode(errors="replace")[-2000:])
        raise CrewmeshError("the tools can't be described; the worker's log says why")
    return [
        agent_pb2.Tool(
            name=tool["name"],
            description=tool["description"],
            arguments_schema_json=json.dumps(tool["arguments"]),
            side_effects=tool["side_effects"],
        )
        for tool in json.loads(out)
    ]
