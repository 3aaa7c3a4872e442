"""The crews that come with Crewmesh, from the command line and REST, with their sample data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.e2e.conftest import ROOT, WEBHOOK_SECRET, Mesh
from tests.e2e.receiver import receiving
from tests.e2e.test_cli import crewmesh
from tests.e2e.test_recovery import wait_for_event

SAMPLES = ROOT / "docs" / "crews" / "samples"


async def test_books_are_recommended_to_a_reader(mesh: Mesh) -> None:
    ran = await crewmesh(
        mesh, "run", "recommender", "-f", f"data=@{SAMPLES}/books.csv", "-i", "user=reader04",
        "-i", "count=3",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert ran.out.startswith("What people with this taste like:")
    assert ran.out.count("because you liked") == 3


async def test_tickets_are_triaged_approved_and_posted_once(private_mesh: Mesh) -> None:
    mesh = private_mesh
    async with receiving() as receiver:
        started = await crewmesh(
            mesh, "run", "process-automation", "-f", f"data=@{SAMPLES}/tickets.jsonl",
            "-i", f"webhook_url={receiver.url}", "--detach",
        )  # fmt: skip
        run_id = started.out.strip()
        asked = await wait_for_event(mesh, run_id, "input.requested")
        assert "route: finance" in asked["payload"]["draft"]
        assert receiver.received == []
        answer = {"text": "", "approve": True}
        async with mesh.http.post(f"/v1/runs/{run_id}/input", json=answer) as response:
            assert response.status == 200, await response.text()
        await wait_for_event(mesh, run_id, "run.succeeded")
        assert len(receiver.received) == 5
        assert all(hook.is_signed_with(WEBHOOK_SECRET) for hook in receiver.received)
        output = (await mesh.get(f"/v1/runs/{run_id}"))["output_json"]
        assert [a["detail"] for a in output["actions"]] == [hook.id for hook in receiver.received]


async def test_parquet_is_profiled_queried_and_charted(mesh: Mesh, tmp_path: Path) -> None:
    days = pd.date_range("2026-01-01", periods=365, tz="UTC")
    frame = pd.DataFrame(
        {
            "day": days,
            "shop": pd.Categorical(["north", "south", "west"][n % 3] for n in range(365)),
            "revenue": [float(n % 3 * 100 + n % 7) for n in range(365)],
            "returned": [n % 50 == 0 for n in range(365)],
        }
    )
    path = tmp_path / "sales.parquet"
    frame.to_parquet(path)
    ran = await crewmesh(
        mesh, "run", "data-analyst", "-f", f"data=@{path}",
        "-i", "question=Which shop has the highest average revenue?",
        "--save", str(tmp_path / "out"),
    )  # fmt: skip
    assert ran.status == 0, ran.err
    highest = frame.groupby("shop", observed=True)["revenue"].mean().max()
    assert "**west**" in ran.out
    assert f"**{highest:.2f}**".rstrip("0") in ran.out
    datasets = (await mesh.get("/v1/datasets"))["items"]
    (stored,) = [
        d for d in datasets if d["name"] == "sales" and d["size_bytes"] == path.stat().st_size
    ]
    assert stored["media_type"] == "application/vnd.apache.parquet"
    assert list((tmp_path / "out").glob("*.png"))
