"""The model server as its worker keeps it and its callers use it; the real model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from jsonschema import Draft202012Validator

from crewmesh.common.errors import UnavailableError
from crewmesh_worker.local_model.environment import CUT_HEADER, KEY_VARIABLE, URL_VARIABLE
from crewmesh_worker.local_model.files import find_weights
from crewmesh_worker.local_model.process import LocalModel
from crewmesh_worker.local_model.settings import LocalModelSettings
from crewmesh_worker.service import Worker
from crewmesh_worker.settings import WorkerSettings
from tests.conftest import MESH_SECRET, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_weights(None) is None, reason="`make local-model` installs it"),
    pytest.mark.timeout(300),
]

TOOL = {
    "type": "function",
    "function": {
        "name": "query_sql",
        "description": "Runs a query.",
        "parameters": {
            "type": "object",
            "properties": {
                "sql": {"type": "string"},
                "limit": {"type": "integer", "minimum": 1},
                "kind": {"enum": ["rows", "count"]},
            },
            "required": ["sql", "limit", "kind"],
            "additionalProperties": False,
        },
    },
}
HI: list[dict[str, Any]] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def settings() -> LocalModelSettings:
    weights = find_weights(None)
    assert weights is not None
    return LocalModelSettings(weights=weights, context_tokens=512, max_tokens=16, max_tool_calls=1)


@pytest.fixture(scope="module")
async def model(settings: LocalModelSettings) -> AsyncIterator[LocalModel]:
    served = LocalModel(settings)
    yield served
    await served.stop()


@pytest.fixture
async def caller(model: LocalModel) -> AsyncIterator[httpx.AsyncClient]:
    environment = await model.environment({"local"})
    async with httpx.AsyncClient(
        base_url=environment[URL_VARIABLE],
        headers={"Authorization": f"Bearer {environment[KEY_VARIABLE]}"},
        timeout=240,
    ) as client:
        yield client


async def ask(caller: httpx.AsyncClient, **request: Any) -> httpx.Response:
    response = await caller.post("/chat/completions", json={"messages": HI, **request})
    assert response.status_code == 200, response.text
    return response


def choice(response: httpx.Response) -> Any:
    return response.json()["choices"][0]


async def test_an_answer_streams_in_pieces_and_tells_its_usage(caller: httpx.AsyncClient) -> None:
    response = await ask(caller, stream=True, stream_options={"include_usage": True})
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    texts = [c["choices"][0]["delta"].get("content") for c in chunks if c["choices"]]
    assert sum(text is not None for text in texts) > 3
    usage = chunks[-1]["usage"]
    assert usage["prompt_tokens"] > 5
    assert 3 < usage["completion_tokens"] <= 16
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    whole = (await ask(caller)).json()
    assert whole["choices"][0]["message"]["content"]
    assert whole["usage"]["prompt_tokens"] == usage["prompt_tokens"]


async def test_a_tool_call_that_is_asked_for_fits_the_tools_schema(
    caller: httpx.AsyncClient,
) -> None:
    answer = choice(await ask(caller, tools=[TOOL], tool_choice="required"))
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    assert call["function"]["name"] == "query_sql"
    arguments = json.loads(call["function"]["arguments"])
    Draft202012Validator(TOOL["function"]["parameters"]).validate(arguments)  # type: ignore[index]


async def test_after_as_many_calls_as_are_allowed_it_answers(caller: httpx.AsyncClient) -> None:
    called = {
        "role": "assistant",
        "tool_calls": [{"id": "1", "function": {"name": "query_sql", "arguments": "{}"}}],
    }
    result = {"role": "tool", "tool_call_id": "1", "content": "12 rows"}
    answer = choice(await ask(caller, messages=[*HI, called, result], tools=[TOOL]))
    assert answer["message"]["content"]
    assert "tool_calls" not in answer["message"]


async def test_an_answer_as_data_fits_its_schema(caller: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = choice(await ask(caller, response_format=wanted))
    Draft202012Validator(schema).validate(json.loads(answer["message"]["content"]))


async def test_a_prompt_longer_than_the_context_is_cut_and_the_caller_told(
    caller: httpx.AsyncClient,
) -> None:
    response = await ask(caller, messages=[{"role": "user", "content": "word " * 3_000}])
    assert int(response.headers[CUT_HEADER]) > 2_000
    assert response.json()["usage"]["prompt_tokens"] < 512
    assert (await ask(caller)).headers[CUT_HEADER] == "0"


@pytest.mark.parametrize(
    ("key", "body", "status"),
    [("wrong", {"messages": HI}, 401), (None, {"messages": []}, 400), (None, {"x": 1}, 400)],
)
async def test_what_is_no_request_of_a_run_is_refused(
    caller: httpx.AsyncClient, key: str | None, body: dict[str, Any], status: int
) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else None
    response = await caller.post("/chat/completions", json=body, headers=headers)
    assert response.status_code == status


async def test_a_caller_that_leaves_does_not_keep_the_model(caller: httpx.AsyncClient) -> None:
    request = {"messages": HI, "stream": True, "max_tokens": 16}
    async with caller.stream("POST", "/chat/completions", json=request) as response:
        await anext(response.aiter_lines())
    waiting = [asyncio.create_task(ask(caller)) for _ in range(3)]
    waiting[1].cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(answer, httpx.Response) for answer in answers] == [True, False, True]


async def test_a_process_that_is_killed_is_started_again_under_the_same_address(
    model: LocalModel, caller: httpx.AsyncClient
) -> None:
    await ask(caller)
    killed = model.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)

    async def replaced() -> bool:
        return model.pid not in (None, killed)

    await until(replaced, 60)
    assert choice(await ask(caller))["message"]["content"]


async def test_weights_that_cannot_be_loaded_refuse_callers_instead_of_hanging(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"nonsense")
    model = LocalModel(LocalModelSettings(weights=broken))
    environment = await model.environment({"local"})

    async def refused() -> bool:
        try:
            async with httpx.AsyncClient(timeout=0.5) as client:
                await client.get(environment[URL_VARIABLE] + "/models")
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            pass
        return False

    await until(refused, 120)
    await model.stop()


async def test_the_process_ends_when_the_worker_stops_it(settings: LocalModelSettings) -> None:
    model = LocalModel(settings)
    await model.environment({"local"})

    async def started() -> bool:
        return model.pid is not None

    await until(started)
    process = psutil.Process(model.pid)
    await model.stop()
    assert not process.is_running()


async def test_runs_on_other_models_do_not_start_it(settings: LocalModelSettings) -> None:
    model = LocalModel(settings)
    assert await model.environment({"offline", "openai/gpt-5-mini"}) == {}
    assert model.pid is None
    assert await LocalModel(None).environment({"local"}) == {}


async def test_a_worker_without_the_model_says_what_to_install(tmp_path: Path) -> None:
    settings = WorkerSettings(
        store_target="ipv4:127.0.0.1:1",
        mesh_secret=MESH_SECRET,
        model="local",
        local_model_file=tmp_path / "nowhere.gguf",
    )
    with pytest.raises(UnavailableError, match=r"CREWMESH_LOCAL_MODEL_FILE: there is no file"):
        await Worker(settings).start()
