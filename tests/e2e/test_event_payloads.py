"""The reference of events says what payloads hold: each event of real runs is one of its rows."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import ROOT, Mesh

PAGE = ROOT / "docs" / "reference" / "events.md"
# Beside a text that was cut.
_ANYWHERE = {"truncated"}


@dataclass
class Fields:
    """Names that have to be there, names that may, and what is within them."""

    required: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    within: dict[str, Fields] = field(default_factory=dict)

    def fault(self, payload: dict[str, Any]) -> str | None:
        """Return what makes a payload none of these; None if it is."""
        if missing := self.required - payload.keys():
            return f"without {sorted(missing)}"
        if odd := payload.keys() - self.required - self.optional - _ANYWHERE:
            return f"with {sorted(odd)}, which isn't told"
        for name, fields in self.within.items():
            if name in payload and (fault := fields.fault(payload[name])):
                return f"{name}: {fault}"
        return None


def fields_of(told: str) -> Fields:
    """Read `a, b?, c {d, e?}`."""
    fields = Fields()
    for name, maybe, within in re.findall(r"(\w+)(\??)(?: \{(.*?)\})?(?:, |$)", told):
        (fields.optional if maybe else fields.required).add(name)
        if within:
            fields.within[name] = fields_of(within)
    return fields


def reference() -> dict[str, list[Fields]]:
    """Return what the page tells of each type: a row, or an alternative in one, is a shape."""
    shapes: dict[str, list[Fields]] = {}
    rows = re.findall(
        r"^\| `(\w+(?:\.\w+)?)` \| (.*?) ?\| .*\|$",
        PAGE.read_text(encoding="utf-8").partition("## Codes")[0],
        re.MULTILINE,
    )
    for kind, told in rows:
        shapes.setdefault(kind, []).extend(
            fields_of(part.strip("` ")) for part in told.split("` or `")
        )
    return shapes


def faults(events: list[dict[str, Any]]) -> Iterator[str]:
    """Say which events aren't as the page tells them."""
    shapes = reference()
    for event in events:
        found = [shape.fault(event["payload"]) for shape in shapes.get(event["type"], [])]
        if None not in found:
            yield f"{event['type']} {json.dumps(event['payload'])[:300]}: {found}"


def test_the_page_is_read_as_it_is_meant() -> None:
    shapes = reference()
    assert shapes["agent.started"] == [Fields()]
    assert shapes["run.timed_out"] == [Fields({"timeout_seconds"}), Fields({"code", "reason"})]
    assert len(shapes["input.requested"]) == 3
    usage = shapes["llm.completed"][0].within["usage"]
    assert "cached_tokens" in usage.optional
    assert "total_tokens" in usage.required
    wrong = {"type": "task.failed", "payload": {"index": 0, "error": "x", "more": 1}}
    assert len(list(faults([wrong, {"type": "run.burst", "payload": {}}]))) == 2


async def events_of(
    mesh: Mesh, crew: str, given: dict[str, Any] | None = None, **inputs: Any
) -> list[dict[str, Any]]:
    """Run a crew to its end, approving what it asks for; return its log."""
    body = {"crew": crew, "inputs": inputs, **(given or {})}
    async with mesh.http.post("/v1/runs", json=body) as response:
        assert response.status == 202, await response.text()
        run = (await response.json())["id"]
    return await log_of(mesh, run)


async def log_of(mesh: Mesh, run: str, cancel_at: str = "") -> list[dict[str, Any]]:
    events = []
    async for event in mesh.watch(run):
        events.append(event)
        if event["type"] == "input.requested":
            answer = {"text": "Go on.", "approve": True}
            async with mesh.http.post(f"/v1/runs/{run}/input", json=answer) as response:
                assert response.status == 200, await response.text()
        elif event["type"] == cancel_at:
            cancel_at = ""
            async with mesh.http.post(f"/v1/runs/{run}/cancel") as response:
                assert response.status < 300, await response.text()
    return events


async def analysed(mesh: Mesh) -> list[dict[str, Any]]:
    form = aiohttp.FormData()
    form.add_field(
        "file", b"region,sales\nnorth,3\nsouth,5\n", filename="s.csv", content_type="text/csv"
    )
    async with mesh.http.post("/v1/datasets", data=form) as response:
        dataset = (await response.json())["id"]
    return await events_of(mesh, "data-analyst", data=dataset, question="What stands out?")


async def cancelled(mesh: Mesh) -> list[dict[str, Any]]:
    run = await mesh.start_run("paced", words=10_000)
    return await log_of(mesh, run["id"], cancel_at="llm.started")


@pytest.mark.timeout(180)
@pytest.mark.long
async def test_what_real_runs_emit_is_what_the_page_tells(mesh: Mesh, tmp_path: Path) -> None:
    logs = await asyncio.gather(
        events_of(mesh, "hello", topic="payloads"),
        analysed(mesh),
        events_of(mesh, "approved"),
        events_of(mesh, "effectful", file=str(tmp_path / "paid")),
        events_of(mesh, "talker", message="fail"),
        cancelled(mesh),
        events_of(mesh, "paced", {"timeout_seconds": 1}, words=10_000),
        events_of(mesh, "hello", {"budget": {"max_tokens": 1}}, topic="budgets"),
    )
    events = [event for log in logs for event in log]
    assert list(faults(events)) == []
    # A model and a tool that fail: tests/e2e/test_models.py holds its runs against the page, too,
    # and tests/integration/runner/test_runner_runs.py the payload of tool.failed.
    elsewhere = {"llm.retried", "llm.failed", "tool.failed"}
    assert reference().keys() - {event["type"] for event in events} <= elsewhere
