"""A mesh on models that speak OpenAI's interface, played by a server of the test."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Mesh, running_mesh
from tests.e2e.openai_server import Answer, ModelServer, model_server
from tests.e2e.test_event_payloads import faults

PRICES = json.dumps({"priced-*": {"input_usd_per_million": 1000, "output_usd_per_million": 3000}})


@dataclass
class Served:
    """A mesh and the server of its models; a test says what each call gets."""

    mesh: Mesh
    server: ModelServer

    async def run(self, crew: str = "hello", **spec: Any) -> tuple[dict[str, Any], list[Any]]:
        """Run a crew to its end; return the run and its events."""
        body = {"crew": crew, "inputs": {"topic": "gRPC"}, **spec}
        async with self.mesh.http.post("/v1/runs", json=body) as response:
            assert response.status == 202, await response.text()
            run = await response.json()
        events = [event async for event in self.mesh.watch(run["id"])]
        assert list(faults(events)) == []
        return await self.mesh.get(f"/v1/runs/{run['id']}"), events


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with (
        model_server(lambda *_: Answer()) as server,
        running_mesh(
            tmp_path_factory.mktemp("models"),
            CREWMESH_MODEL="openai/gpt-5-mini",
            CREWMESH_PRICES=PRICES,
            OPENAI_API_KEY="sk-of-the-mesh",
            OPENAI_BASE_URL=server.url,
        ) as mesh,
    ):
        yield Served(mesh, server)


@pytest.fixture(autouse=True)
def _fresh(served: Served) -> None:
    served.server.asked.clear()
    served.server.keys.clear()
    served.server.choose = lambda *_: Answer()


def payloads(events: list[Any], kind: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in events if event["type"] == kind]


async def test_crews_run_on_the_model_that_the_setting_names(served: Served) -> None:
    run, events = await served.run()
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert run["output"] == "gRPC is fine."
    assert run["usage"]["total_tokens"] == 26
    streamed = "".join(payload["text"] for payload in payloads(events, "llm.chunk"))
    assert streamed == "gRPC is fine."
    assert [body["model"] for body in served.server.asked] == ["gpt-5-mini"]
    assert served.server.keys == ["sk-of-the-mesh"]


async def test_a_run_may_choose_its_models(served: Served) -> None:
    run, events = await served.run(models=["openai/priced-small"])
    assert run["status"] == "succeeded", run["error"]
    assert run["models"] == ["openai/priced-small"]
    assert [body["model"] for body in served.server.asked] == ["priced-small"]
    (completed,) = payloads(events, "llm.completed")
    assert completed["model"] == "openai/priced-small"
    # 20 prompt tokens at 1,000 USD a million, and 6 at 3,000.
    assert completed["cost_usd"] == pytest.approx(0.038)
    assert run["usage"]["cost_usd"] == pytest.approx(0.038)


async def test_the_price_list_prices_known_models_and_flags_unknown_ones(served: Served) -> None:
    run, events = await served.run()
    (completed,) = payloads(events, "llm.completed")
    # gpt-5-mini: 0.25 USD a million prompt tokens, 2 USD a million others; rounded up.
    assert completed["cost_usd"] == pytest.approx(0.000017)
    run, events = await served.run(models=["openai/nobody-knows"])
    (completed,) = payloads(events, "llm.completed")
    assert completed["cost_usd"] is None
    assert run["usage"]["unpriced_calls"] == 1
    assert run["usage"]["cost_usd"] == 0


async def test_offline_costs_nothing(served: Served) -> None:
    run, _ = await served.run(models=["offline"])
    assert run["usage"]["cost_usd"] == 0
    assert run["usage"]["unpriced_calls"] == 0
    assert run["usage"]["total_tokens"] > 0


async def test_a_busy_model_is_called_again_when_it_says(served: Served) -> None:
    failures = [Answer(status=429, headers={"Retry-After": "0"}), Answer(status=500), Answer()]
    served.server.choose = lambda _, number: failures[number - 1]
    run, events = await served.run()
    assert run["status"] == "succeeded", run["error"]
    retried = payloads(events, "llm.retried")
    assert [payload["attempt"] for payload in retried] == [1, 2]
    assert retried[0]["wait_ms"] <= 250
    assert {payload["model"] for payload in retried} == {"openai/gpt-5-mini"}
    assert len(served.server.asked) == 3
    assert len(payloads(events, "llm.failed")) == 2
    assert run["usage"]["model_calls"] == 1


async def test_a_connection_that_breaks_is_tried_again(served: Served) -> None:
    served.server.choose = lambda _, number: Answer(breaks=number == 1)
    run, events = await served.run()
    assert run["status"] == "succeeded", run["error"]
    assert len(payloads(events, "llm.retried")) == 1


async def test_the_next_model_is_used_when_one_fails_for_good(served: Served) -> None:
    served.server.choose = lambda model, _: Answer(status=401 if model == "first" else 200)
    run, events = await served.run(models=["openai/first", "openai/second"])
    assert run["status"] == "succeeded", run["error"]
    assert [body["model"] for body in served.server.asked] == ["first", "second"]
    (failed,) = payloads(events, "llm.failed")
    assert failed["model"] == "openai/first"
    assert "401" in failed["error"]
    assert payloads(events, "llm.retried") == []
    assert payloads(events, "llm.completed")[0]["model"] == "openai/second"


async def test_a_model_that_asks_for_a_long_pause_is_left_for_the_next(served: Served) -> None:
    busy = Answer(status=429, headers={"Retry-After": "3600"})
    served.server.choose = lambda model, _: busy if model == "first" else Answer()
    run, _ = await served.run(models=["openai/first", "openai/second"])
    assert run["status"] == "succeeded", run["error"]
    assert [body["model"] for body in served.server.asked] == ["first", "second"]


async def test_a_run_fails_with_the_models_own_error_when_none_is_left(served: Served) -> None:
    served.server.choose = lambda *_: Answer(status=401)
    run, _ = await served.run(models=["openai/first", "openai/second"])
    assert run["status"] == "failed"
    assert run["error"]["code"] == "crew_error"
    assert "401" in run["error"]["message"]


async def test_a_model_that_cannot_be_set_up_is_passed_over(served: Served) -> None:
    run, events = await served.run(models=["nonsense/model", "openai/second"])
    assert run["status"] == "succeeded", run["error"]
    (failed,) = payloads(events, "llm.failed")
    assert failed["model"] == "nonsense/model"


async def test_an_agent_and_a_crew_choose_models_and_a_run_goes_before_them(
    served: Served,
) -> None:
    run, _ = await served.run("choosy")
    assert run["status"] == "succeeded", run["error"]
    assert [body["model"] for body in served.server.asked] == ["of-the-agent", "of-the-crew"]
    served.server.asked.clear()
    await served.run("choosy", models=["openai/of-the-run"])
    assert {body["model"] for body in served.server.asked} == {"of-the-run"}


async def test_usage_is_told_by_crew_and_model_and_day(served: Served) -> None:
    await served.run(models=["openai/priced-for-usage"])
    answer = await served.mesh.get("/v1/usage?group_by=crew,model")
    groups = {(g["crew"], g["model"]): g for g in answer["items"]}
    group = groups["hello", "openai/priced-for-usage"]
    assert (group["model_calls"], group["total_tokens"], group["day"]) == (1, 26, None)
    assert group["cost_usd"] == pytest.approx(0.038)
    (whole,) = (await served.mesh.get("/v1/usage"))["items"]
    assert whole["model_calls"] == sum(g["model_calls"] for g in answer["items"])
    (past,) = [await served.mesh.get("/v1/usage?to=2020-01-01T00:00:00Z")]
    assert past["items"] == []
    async with served.mesh.http.get("/v1/usage?group_by=colour") as response:
        assert response.status == 422
        assert (await response.json())["errors"][0]["loc"] == ["query", "group_by"]


async def test_a_runs_budget_ends_it_with_what_it_had_finished(served: Served) -> None:
    # What is reserved is more than what is used: the first call fits, and the second doesn't.
    served.server.choose = lambda *_: Answer(prompt_tokens=20_000, completion_tokens=100)
    run, events = await served.run("choosy", budget={"max_tokens": 20_300})
    assert run["status"] == "failed"
    assert run["error"]["code"] == "budget_exceeded"
    assert "20,100 of 20,300 tokens are spent" in run["error"]["message"]
    assert run["output"] is None
    assert run["output_partial"] == "## first\n\ngRPC is fine."
    assert run["budget"] == {"max_tokens": 20_300, "max_usd": None}
    (exceeded,) = payloads(events, "budget.exceeded")
    assert (exceeded["scope"], exceeded["spent_tokens"]) == ("run", 20_100)
    assert len(served.server.asked) == 1


async def test_neither_retries_nor_fallbacks_go_round_a_budget(served: Served) -> None:
    run, events = await served.run(
        models=["openai/priced-a", "openai/priced-b", "offline"], budget={"max_usd": 0.001}
    )
    assert run["error"]["code"] == "budget_exceeded"
    assert served.server.asked == []
    assert len(payloads(events, "budget.exceeded")) == 1


async def test_a_budget_in_dollars_refuses_models_of_unknown_price(served: Served) -> None:
    run, _ = await served.run(models=["openai/nobody-knows"], budget={"max_usd": 5})
    assert run["error"]["code"] == "price_unknown"
    assert "CREWMESH_PRICES" in run["error"]["message"]
    assert served.server.asked == []


async def test_a_budgeted_call_asks_for_no_longer_answer_than_there_is_room_for(
    served: Served,
) -> None:
    run, _ = await served.run(budget={"max_tokens": 5_000})
    assert run["status"] == "succeeded", run["error"]
    (body,) = served.server.asked
    assert 256 <= body["max_tokens"] < 5_000


async def test_a_tenants_secret_reaches_its_runs_and_nobody_reads_it(served: Served) -> None:
    value = "sk-of-the-tenant-0123456789"
    async with served.mesh.http.put("/v1/secrets/OPENAI_API_KEY", json={"value": value}) as put:
        assert put.status == 200, await put.text()
        assert (await put.json())["ending"] == "6789"
    try:
        served.server.choose = lambda *_: Answer(words=("it is ", value))
        run, events = await served.run()
        assert served.server.keys == [value]
        # An error that quotes it is logged, and told of.
        served.server.choose = lambda *_: Answer(status=401, message=f"wrong key: {value}")
        failed, more_events = await served.run()
    finally:
        async with served.mesh.http.delete("/v1/secrets/OPENAI_API_KEY") as gone:
            assert gone.status == 204
    assert "wrong key: [secret]" in failed["error"]["message"]
    assert run["output"] == "it is [secret]"
    assert value not in json.dumps([run, events, failed, more_events])
    logs = "".join(p.read_text(encoding="utf-8") for p in served.mesh.directory.glob("logs/*"))
    assert "wrong key: [secret]" in logs
    assert value not in logs
    async with served.mesh.http.get("/v1/secrets/OPENAI_API_KEY") as response:
        assert response.status == 404


async def test_a_policy_refuses_models_and_tools_and_caps_a_runs_budget(served: Served) -> None:
    policy = {
        "models": {"allowed": ["openai/ok-*", "offline"], "default": ["openai/ok-default"]},
        "tools": {"denied": ["query_*"]},
        "run_budget": {"max_tokens": 1_000_000},
    }
    async with served.mesh.http.put("/v1/policy", json=policy) as response:
        assert response.status == 200, await response.text()
    try:
        body = {"crew": "hello", "inputs": {}, "models": ["openai/not-ok"]}
        async with served.mesh.http.post("/v1/runs", json=body) as refused:
            assert refused.status == 403
        run, _ = await served.run(budget={"max_tokens": 2_000_000})
        assert run["budget"] == {"max_tokens": 1_000_000, "max_usd": None}
        assert [body["model"] for body in served.server.asked] == ["ok-default"]
        body = {"crew": "data-analyst", "inputs": {"data": "x"}}
        async with served.mesh.http.post("/v1/runs", json=body) as refused:
            assert refused.status == 403
            problem = await refused.json()
        assert problem["code"] == "policy_denied"
        assert "query_sql" in problem["detail"]
    finally:
        async with served.mesh.http.put("/v1/policy", json={}) as response:
            assert response.status == 200
    run, _ = await served.run(models=["openai/not-ok"])
    assert run["status"] == "succeeded"


async def test_a_wrong_policy_is_refused_with_its_faults(served: Served) -> None:
    policy = {"models": {"allowed": "all"}, "colour": "red"}
    async with served.mesh.http.put("/v1/policy", json=policy) as response:
        assert response.status == 422
        places = [fault["loc"] for fault in (await response.json())["errors"]]
    assert ["body", "models", "allowed"] in places
    assert ["body", "colour"] in places


async def test_a_person_approves_the_calls_that_policy_names_one_by_one(
    served: Served, tmp_path: Path
) -> None:
    """The run's process dies after the second call, too: each is made once all the same."""
    file = tmp_path / "payments"
    policy = {"approval": {"tools": ["append_*"]}}
    async with served.mesh.http.put("/v1/policy", json=policy) as response:
        assert response.status == 200
    try:
        run = await served.mesh.start_run("effectful", file=str(file))
        for number in (1, 2):
            asked = await _asked(served.mesh, run["id"], number)
            assert asked["tool"] == "append_line"
            assert asked["arguments"] == {"line": f"paid {number}"}
            assert not file.exists() or f"paid {number}" not in file.read_text(encoding="utf-8")
            await _answer(served.mesh, run["id"], approve=True)
        events = [event async for event in served.mesh.watch(run["id"])]
    finally:
        await served.mesh.http.put("/v1/policy", json={})
    assert events[-1]["type"] == "run.succeeded", events[-1]["payload"]
    assert list(faults(events)) == []
    assert file.read_text(encoding="utf-8") == "paid 1\npaid 2\n"


async def test_an_agent_is_told_when_a_person_denies_its_call(
    served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "payments"
    async with served.mesh.http.put("/v1/policy", json={"approval": {"tools": ["*"]}}) as response:
        assert response.status == 200
    try:
        run = await served.mesh.start_run("effectful", file=str(file))
        await _asked(served.mesh, run["id"], 1)
        await _answer(served.mesh, run["id"], approve=False, text="not today")
        results = []
        async for event in served.mesh.watch(run["id"]):
            if event["type"] == "tool.completed":
                results.append(event["payload"]["output"])
                break
        await served.mesh.http.post(f"/v1/runs/{run['id']}/cancel")
        async for _ in served.mesh.watch(run["id"]):
            pass
    finally:
        await served.mesh.http.put("/v1/policy", json={})
    assert results == ["A person has denied this call; don't make it again. not today"]
    assert not file.exists()


async def _asked(mesh: Mesh, run_id: str, number: int) -> dict[str, Any]:
    """Return what the run asks for the so-manyth time."""
    seen = 0
    async for event in mesh.watch(run_id):
        seen += event["type"] == "input.requested"
        if seen == number:
            payload: dict[str, Any] = event["payload"]
            return payload
    raise AssertionError("the run ended without asking")


async def _answer(mesh: Mesh, run_id: str, *, approve: bool, text: str = "") -> None:
    body = {"text": text, "approve": approve}
    async with mesh.http.post(f"/v1/runs/{run_id}/input", json=body) as response:
        assert response.status == 200, await response.text()


@pytest.mark.parametrize("page", ["choose-models", "budgets"])
async def test_the_commands_of_the_how_tos_do_what_they_say(
    served: Served, page: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KEY": served.mesh.api_key,
        "URL": served.mesh.url,
        "CREWMESH_URL": served.mesh.url,
        "CREWMESH_API_KEY": served.mesh.api_key,
    }
    blocks = commands_of(ROOT / "docs" / "how-to" / f"{page}.md")
    assert len(blocks) >= 3
    try:
        for block in blocks:
            # curl fails on answers that tell of an error.
            script = block.replace("curl ", "curl --silent --show-error --fail-with-body ")
            process = await asyncio.create_subprocess_exec(
                "sh", "-e", "-c", script, env=environment, cwd=tmp_path,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            output, _ = await process.communicate(b"sk-of-the-how-to")
            assert process.returncode == 0, f"{script}\n{output.decode()}"
    finally:
        for path, nothing in (("policy", {}), ("budgets", {"items": []})):
            async with served.mesh.http.put(f"/v1/{path}", json=nothing) as response:
                assert response.status == 200


def commands_of(page: Path) -> list[str]:
    """Return the page's indented blocks that are commands."""
    blocks = re.findall(r"(?:^    .*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [block for block in blocks if block.strip().startswith(("crewmesh ", "curl ", "echo "))]
