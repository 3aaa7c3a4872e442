"""CrewAI projects, as CrewAI's own command line makes them, served without a change."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uv

from tests.conftest import until
from tests.e2e.conftest import ROOT, Mesh, put, running_mesh
from tests.e2e.test_cli import crewmesh
from tests.measuring import measure_environments

# Environments are installed, and CrewAI is imported in each for the first time.
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

OWN = Path(__file__).parent / "projects"


def create(directory: Path, *arguments: str) -> None:
    """Make a project by CrewAI's command line."""
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_DISABLE_VERSION_CHECK": "true"}
    subprocess.run(
        [str(Path(sys.executable).with_name("crewai")), "create", *arguments],
        cwd=directory,
        env={**os.environ, **quiet, "CREWAI_DMN": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def how_to_commands() -> list[list[list[str]]]:
    """Return the commands of each block of the how-to, as words."""
    page = (ROOT / "docs" / "how-to" / "serve-existing-projects.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [[shlex.split(line) for line in block.splitlines()] for block in blocks]


def digests(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def crews_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("crews")
    create(directory, "crew", "by_json", "--skip-provider")
    create(directory, "flow", "writing", "--skip-provider")
    created, _ = how_to_commands()
    create(directory, *created[0][2:])
    create(directory, "flow", "declared", "--declarative", "--skip-provider")
    shutil.copytree(OWN, directory, dirs_exist_ok=True)
    (directory / "pinned" / ".env.example").rename(directory / "pinned" / ".env")
    lock(directory / "branches", "iniconfig==2.0.0")
    return directory


def lock(project: Path, older: str) -> None:
    """Have uv lock what a project needs, one package of it not at its newest."""
    subprocess.run(
        [uv.find_uv_bin(), "lock", "--quiet", "--python", sys.executable, "-P", older],
        cwd=project,
        check=True,
    )


@pytest.fixture(scope="session")
async def projects(
    crews_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Mesh]:
    """A mesh with all of them; CREWMESH_TEST_PROJECT_CACHE names a place for what it installs."""
    directory = tmp_path_factory.mktemp("mesh")
    if cache := os.environ.get("CREWMESH_TEST_PROJECT_CACHE"):
        (directory / "cache").mkdir()
        (directory / "cache" / "projects").symlink_to(cache)
    async with running_mesh(
        directory, "--crews", str(crews_dir), "--slots", "4",
        start_seconds=500, CREWMESH_PROJECT_POOLS="2",
    ) as mesh:  # fmt: skip
        measure_environments(directory / "cache" / "projects" / "environments")
        yield mesh


async def events_of(mesh: Mesh, run: dict[str, Any]) -> list[dict[str, Any]]:
    return [event async for event in mesh.watch(run["id"])]


async def wait_for(mesh: Mesh, run: dict[str, Any], type_: str, after: int = 0) -> dict[str, Any]:
    async for event in mesh.watch(run["id"], after):
        if event["type"] == type_:
            return event
    raise AssertionError(f"the run ended without {type_}")


async def answer(mesh: Mesh, run: dict[str, Any], **body: Any) -> None:
    async with mesh.http.post(f"/v1/runs/{run['id']}/input", json=body) as response:
        assert response.status == 200, await response.text()


async def test_every_project_is_listed_with_its_kind_its_inputs_and_what_is_wrong(
    projects: Mesh,
) -> None:
    crews = {crew["name"]: crew for crew in (await projects.get("/v1/crews"))["items"]}
    kinds = {name: crew["kind"] for name, crew in crews.items() if crew["source"] == "project"}
    assert kinds == {
        "branches": "flow",
        "broken": "crew",
        "by_json": "crew",
        "declared": "flow",
        "my_crew": "crew",
        "pinned": "crew",
        "reviewed": "flow",
        "steps": "flow",
        "writing": "flow",
    }
    assert crews["my_crew"]["inputs"]["properties"]["topic"]["default"] == "AI LLMs"
    assert "current_year" in crews["my_crew"]["inputs"]["properties"]
    assert [task["name"] for task in crews["my_crew"]["tasks"]] == [
        "research_task",
        "reporting_task",
    ]
    assert crews["steps"]["inputs"]["properties"]["directory"]["type"] == "string"
    assert "protobuf" in crews["broken"]["error"]
    assert all(crew["error"] is None for name, crew in crews.items() if name != "broken")
    examined = await crewmesh(projects, "doctor", "--json")
    (found,) = (finding for finding in examined.json if finding["check"] == "crews")
    assert found["state"] == "warning"
    assert found["detail"].startswith("broken can't be run: ")


async def test_a_project_that_cannot_be_run_says_why(projects: Mesh) -> None:
    async with projects.http.post("/v1/runs", json={"crew": "broken", "inputs": {}}) as response:
        assert response.status == 409
        problem = await response.json()
    assert problem["code"] == "project_broken"
    assert "protobuf" in problem["detail"]


async def test_a_classic_crew_streams_and_its_report_is_an_artifact(
    projects: Mesh, crews_dir: Path
) -> None:
    before = digests(crews_dir / "my_crew")
    run = await projects.start_run("my_crew", topic="gRPC")
    events = await events_of(projects, run)
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    types = [event["type"] for event in events]
    assert {"task.started", "agent.started", "llm.chunk", "task.completed"} <= set(types)
    warning = next(event for event in events if event["type"] == "log")
    assert "OPENAI_API_KEY" in warning["payload"]["message"]
    (artifact,) = (await projects.get(f"/v1/runs/{run['id']}/artifacts"))["items"]
    assert artifact["name"] == "report.md"
    assert types.index("artifact.created") < len(types) - 1 - types[::-1].index("task.completed")
    async with projects.http.get(f"/v1/artifacts/{artifact['id']}") as response:
        assert (await response.text()) == events[-1]["payload"]["output"]
    assert (
        "gRPC" in next(e for e in events if e["type"] == "task.started")["payload"]["description"]
    )
    assert digests(crews_dir / "my_crew") == before


@pytest.mark.parametrize("crew", ["by_json", "declared"])
async def test_what_is_defined_by_data_runs(projects: Mesh, crew: str) -> None:
    events = await events_of(projects, await projects.start_run(crew))
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]


async def test_a_flow_s_methods_and_its_crews_tasks_are_its_tasks(projects: Mesh) -> None:
    run = await projects.start_run("writing")
    events = await events_of(projects, run)
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    tasks = (await projects.get(f"/v1/runs/{run['id']}"))["tasks"]
    assert [task["name"] for task in tasks] == [
        "plan_content",
        "generate_content",
        "planning_task",
        "writing_task",
        "editing_task",
        "save_content",
    ]
    assert {task["status"] for task in tasks} == {"completed"}
    logged = [(e["task"], e["payload"]["message"]) for e in events if e["type"] == "log"]
    assert ("plan_content", "Planning content") in logged
    (artifact,) = (await projects.get(f"/v1/runs/{run['id']}/artifacts"))["items"]
    assert artifact["name"] == "output/post.md"
    # The last method returns nothing: the state is the flow's result.
    state = (await projects.get(f"/v1/runs/{run['id']}"))["output_json"]
    assert state["topic"] == "AI Agents"
    assert state["final_post"]


async def test_dependencies_that_clash_with_ours_and_the_env_file_are_the_project_s_own(
    projects: Mesh, crews_dir: Path
) -> None:
    env_file = crews_dir / "pinned" / ".env"
    for secret in ("of-pinned-only", "renewed"):
        env_file.write_text(env_file.read_text().replace("of-pinned-only", secret))
        run = await projects.start_run("pinned")
        end = (await events_of(projects, run))[-1]
        assert end["type"] == "run.succeeded", end["payload"]
        facts = facts_of(end)
        assert facts["crewai"] == "1.15.20"
        assert facts["protobuf"] == "5.29.5"
        assert facts["structlog"] == "24.4.0"
        assert facts["psutil"] == "6.1.1"
        assert facts["PINNED_SECRET"] == secret
        assert facts["PINNED_BOTH"] == f"{secret}!"
        assert "CREWMESH_MESH_SECRET_FILE" not in facts
        assert facts["runs"] == 1, "each run has the project's modules anew"
        assert "src" in facts["cwd"]


def facts_of(end: dict[str, Any]) -> dict[str, Any]:
    """Return what the tool of `pinned` told."""
    text = end["payload"]["output"].partition("answered:")[2].partition("}")[0]
    facts: dict[str, Any] = json.loads(text + "}")
    return facts


async def test_a_tenants_secrets_and_approvals_hold_for_projects_too(projects: Mesh) -> None:
    value = "of-the-tenant-0123456789"
    async with (
        put(projects, "/v1/policy", {"approval": {"tools": ["look_*"]}}, after={}),
        put(projects, "/v1/secrets/PINNED_SECRET", {"value": value}, after=None),
    ):
        run = await projects.start_run("pinned")
        asked = await wait_for(projects, run, "input.requested")
        assert asked["payload"]["tool"] == "look_around"
        await answer(projects, run, text="", approve=True)
        end = (await events_of(projects, run))[-1]
    assert end["type"] == "run.succeeded", end["payload"]
    assert facts_of(end)["PINNED_SECRET"] == "[secret]", "it goes before the project's own"


async def test_a_policy_refuses_a_projects_tools(projects: Mesh) -> None:
    async with put(projects, "/v1/policy", {"tools": {"denied": ["look_*"]}}, after={}):
        end = (await events_of(projects, await projects.start_run("pinned")))[-1]
    assert end["type"] == "run.failed"
    assert end["payload"]["code"] == "policy_denied"
    assert "look_around" in end["payload"]["message"]


async def start_within(mesh: Mesh, tokens: int) -> dict[str, Any]:
    """Start a flow with a budget."""
    body = {"crew": "writing", "inputs": {}, "budget": {"max_tokens": tokens}}
    async with mesh.http.post("/v1/runs", json=body) as response:
        assert response.status == 202, await response.text()
        run: dict[str, Any] = await response.json()
        return run


async def test_a_budget_holds_for_the_models_of_a_flow(projects: Mesh) -> None:
    run = await start_within(projects, 300)
    events = await events_of(projects, run)
    assert events[-1]["type"] == "run.failed"
    assert events[-1]["payload"]["code"] == "budget_exceeded"
    assert "budget.exceeded" in [event["type"] for event in events]
    run = await start_within(projects, 10_000_000)
    assert (await events_of(projects, run))[-1]["type"] == "run.succeeded"
    usage = (await projects.get(f"/v1/runs/{run['id']}"))["usage"]
    assert usage["model_calls"] >= 3
    assert 0 < usage["total_tokens"] < 10_000_000


async def test_a_flow_whose_process_dies_goes_on_after_its_last_finished_method(
    projects: Mesh, tmp_path: Path
) -> None:
    run = await projects.start_run("steps", directory=str(tmp_path))
    pid_file = tmp_path / "pid"

    async def started() -> bool:
        return pid_file.exists()

    await until(started, 120)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    (tmp_path / "go").touch()
    events = await events_of(projects, run)
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert (tmp_path / "ledger").read_text().split() == [
        "first", "decide", "second", "second", "third",
    ]  # fmt: skip
    resumed = next(event for event in events if event["type"] == "run.resumed")
    assert resumed["payload"]["finished_tasks"] == 4, "two methods and two tasks of the crew"
    tasks = [event["task"] for event in events if event["type"] == "task.started"]
    assert tasks.count("collect") == tasks.count("sort") == 1
    # The file and the state of what isn't done again are there; another project's .env isn't.
    assert events[-1]["payload"]["output"] == "made by first; one; no secret; True"
    states = (await projects.get(f"/v1/runs/{run['id']}"))["tasks"]
    assert [(t["name"], t["status"]) for t in states] == [
        (name, "completed") for name in ("first", "decide", "second", "collect", "sort", "third")
    ]


async def test_a_cancelled_flow_s_process_is_gone(projects: Mesh, tmp_path: Path) -> None:
    run = await projects.start_run("steps", directory=str(tmp_path))

    async def started() -> bool:
        return (tmp_path / "pid").exists()

    await until(started, 120)
    pid = int((tmp_path / "pid").read_text())
    async with projects.http.post(f"/v1/runs/{run['id']}/cancel", json={}) as response:
        assert response.status == 200, await response.text()
    assert (await events_of(projects, run))[-1]["type"] == "run.cancelled"
    assert not psutil.pid_exists(pid)


async def test_a_flow_waits_for_people_without_a_process(projects: Mesh, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    run = await projects.start_run("reviewed", ledger=str(ledger))
    asked = await wait_for(projects, run, "input.requested")
    assert asked["task"] == "draft"
    assert asked["payload"] == {
        "prompt": "Is the draft good?",
        "draft": "a draft",
        "options": ["approved", "rejected"],
    }
    assert (await projects.get(f"/v1/runs/{run['id']}"))["status"] == "waiting"
    await answer(projects, run, text="", approve=True)

    asked = await wait_for(projects, run, "input.requested", asked["seq"])
    assert asked["payload"] == {"prompt": "Which title?"}
    await answer(projects, run, text="Crews")
    asked = await wait_for(projects, run, "input.requested", asked["seq"])
    assert asked["payload"] == {"prompt": "Which subtitle?"}
    await answer(projects, run, text="as a service")

    asked = await wait_for(projects, run, "input.requested", asked["seq"])
    assert asked["task"] == "publish it"
    await answer(projects, run, text="", approve=True)
    events = await events_of(projects, run)
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert events[-1]["payload"]["output"] == "published Crews: as a service (a draft)"
    assert ledger.read_text() == "draft\n", "what was reviewed isn't done again"
    assert (await projects.get(f"/v1/runs/{run['id']}"))["failures"] == 0


async def test_a_rejected_draft_takes_the_other_way(projects: Mesh, tmp_path: Path) -> None:
    run = await projects.start_run("reviewed", ledger=str(tmp_path / "ledger"))
    await wait_for(projects, run, "input.requested")
    await answer(projects, run, text="rejected")
    assert (await events_of(projects, run))[-1]["payload"]["output"] == "given up"


async def test_the_how_to_does_what_it_says(projects: Mesh) -> None:
    (created, up), used = how_to_commands()
    assert created[:2] == ["crewai", "create"]  # done by the fixture
    assert up == ["crewmesh", "up", "--crews", "."]  # as is this
    for command in used:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crewmesh.cli", *command[1:],
            env={**os.environ, "CREWMESH_URL": projects.url, "CREWMESH_API_KEY": projects.api_key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert "my_crew" in output.decode() or "report.md" in output.decode()


async def test_branches_of_a_flow_run_at_once_with_what_its_lock_says_and_are_not_run_again(
    projects: Mesh, tmp_path: Path
) -> None:
    run = await projects.start_run("branches", directory=str(tmp_path))
    joined = tmp_path / "join"

    async def joined_once() -> bool:
        return joined.exists() and joined.read_text().count("\n") == 1

    async def joined_twice() -> bool:
        return joined.read_text().count("\n") == 2

    # Each branch waits for the other.
    await until(joined_once, 60)
    os.kill(int(joined.read_text()), signal.SIGKILL)
    await until(joined_twice, 60)
    (tmp_path / "go").touch()
    end = (await events_of(projects, run))[-1]
    assert end["type"] == "run.succeeded", end["payload"]
    # Not the newest, which is what the project itself asks for.
    assert end["payload"]["output"] == "left and right; iniconfig 2.0.0"
    assert [(tmp_path / name).read_text() for name in ("left", "right")] == ["begun\n"] * 2
