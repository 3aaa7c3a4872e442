"""What a run says, from its first event to Finished or Failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crewmesh.v1.run_pb2 import Usage
from crewmesh.v1.run_store_pb2 import HumanAnswer, TaskCheckpoint
from crewmesh.v1.runner_pb2 import FromRunner
from crewmesh_worker.runner.pool import RunnerPool

from .conftest import RunCrew

ANALYST = "analyst of cars"


def told(messages: list[FromRunner]) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return the events without the numbers that vary."""
    events = []
    for message in messages:
        if message.HasField("event"):
            event = message.event
            payload = json.loads(event.payload_json)
            payload.pop("duration_ms", None)
            payload.pop("call_id", None)
            events.append((event.type, event.task, event.agent, payload))
    return events


def payloads(messages: list[FromRunner], type_: str) -> list[dict[str, Any]]:
    return [payload for kind, _, _, payload in told(messages) if kind == type_]


async def surroundings(run_crew: RunCrew, **fields: Any) -> dict[str, Any]:
    task = {"name": "look", "tool": ["surroundings", {}], "answer": "what the tool said"}
    messages = await run_crew(task, **fields)
    facts: dict[str, Any] = json.loads(messages[-1].finished.output)
    return facts


async def test_every_event_of_two_tasks_and_a_tool_comes_in_order(run_crew: RunCrew) -> None:
    shouting = {"name": "shout", "tool": ["shout", {"word": "hi"}], "answer": "what the tool said"}
    messages = await run_crew(
        shouting, {"name": "sum-up", "answer": "done", "chunks": ["do", "ne"]}
    )

    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert told(messages) == [
        (
            "task.started",
            "shout",
            ANALYST,
            {"index": 0, "total": 2, "description": "Look at cars."},
        ),
        ("agent.started", "shout", ANALYST, {}),
        ("llm.started", "shout", ANALYST, {"model": "scripted"}),
        ("llm.completed", "shout", ANALYST, {"model": "scripted", "usage": usage}),
        ("tool.started", "shout", ANALYST, {"tool": "shout", "arguments": {"word": "hi"}}),
        ("tool.completed", "shout", ANALYST, {"tool": "shout", "output": "HI"}),
        ("llm.started", "shout", ANALYST, {"model": "scripted"}),
        ("llm.completed", "shout", ANALYST, {"model": "scripted", "usage": usage}),
        ("agent.completed", "shout", ANALYST, {"output": "HI"}),
        ("task.completed", "shout", ANALYST, {"index": 0, "output": "HI"}),
        (
            "task.started",
            "sum-up",
            ANALYST,
            {"index": 1, "total": 2, "description": "Look at cars."},
        ),
        ("agent.started", "sum-up", ANALYST, {}),
        ("llm.started", "sum-up", ANALYST, {"model": "scripted"}),
        ("llm.chunk", "sum-up", ANALYST, {"text": "done", "chunks": 2}),
        ("llm.completed", "sum-up", ANALYST, {"model": "scripted", "usage": usage}),
        ("agent.completed", "sum-up", ANALYST, {"output": "done"}),
        ("task.completed", "sum-up", ANALYST, {"index": 1, "output": "done"}),
    ]
    kinds = [message.WhichOneof("message") for message in messages]
    assert [kind for kind in kinds if kind != "event"] == ["checkpoint", "checkpoint", "finished"]
    assert kinds[9] == "checkpoint", "it comes right before its task.completed"
    times = [message.event.at_us for message in messages if message.HasField("event")]
    assert times == sorted(times)
    finished = messages[-1].finished
    assert finished.output == "done"
    assert finished.output_json == ""
    assert finished.usage == Usage(
        prompt_tokens=21, completion_tokens=9, total_tokens=30, model_calls=3
    )


async def test_the_events_of_a_call_share_its_id_and_tell_how_long_it_took(
    run_crew: RunCrew,
) -> None:
    messages = await run_crew(
        {
            "name": "t",
            "tool": ["shout", {"word": "x"}],
            "answer": "a",
            "chunks": ["a"],
            "pause": 0.1,
        }
    )
    events = [m.event for m in messages if m.HasField("event")]
    ids: dict[str, list[str]] = {}
    for event in events:
        payload = json.loads(event.payload_json)
        if "call_id" in payload:
            ids.setdefault(payload["call_id"], []).append(event.type)
    assert list(ids.values()) == [
        ["llm.started", "llm.completed"],
        ["tool.started", "tool.completed"],
        ["llm.started", "llm.chunk", "llm.completed"],
    ]
    last = json.loads([e for e in events if e.type == "llm.completed"][-1].payload_json)
    assert 100 <= last["duration_ms"] < 10_000


async def test_a_pausing_model_s_words_are_shown_before_it_goes_on(run_crew: RunCrew) -> None:
    messages = await run_crew(
        {"name": "t", "answer": "a", "chunks": ["Wait ", "for ", "it."], "pause": 0.5}
    )
    chunks = [m.event for m in messages if m.event.type == "llm.chunk"]
    assert [json.loads(c.payload_json)["text"] for c in chunks] == ["Wait ", "for it."]
    assert chunks[1].at_us - chunks[0].at_us > 300_000


async def test_a_tool_that_raises_is_told_and_the_crew_goes_on(run_crew: RunCrew) -> None:
    messages = await run_crew({"name": "t", "tool": ["break", {}], "answer": "I coped"})
    (failed,) = payloads(messages, "tool.failed")
    assert failed == {"tool": "break", "error": "the tool is broken"}
    assert messages[-1].finished.output == "I coped"


async def test_a_model_that_fails_fails_the_run_with_a_short_message(run_crew: RunCrew) -> None:
    messages = await run_crew({"name": "t", "answer": "", "model_error": "no credit left"})
    assert payloads(messages, "llm.failed") == [{"model": "scripted", "error": "no credit left"}]
    assert payloads(messages, "task.failed") == [{"index": 0, "error": "no credit left"}]
    error = messages[-1].failed.error
    assert (error.code, error.message) == ("crew_error", "RuntimeError: no credit left")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("exit", "SystemExit: enough"),
        ("interrupt", "KeyboardInterrupt: enough"),
        ("memory", "MemoryError: enough"),
        ("recursion", "RecursionError: maximum recursion depth exceeded"),
    ],
)
async def test_whatever_a_crew_raises_the_runner_lives_on(
    run_crew: RunCrew, pool: RunnerPool, how: str, message: str
) -> None:
    before = await surroundings(run_crew, affinity=how)
    messages = await run_crew({"name": "t", "answer": "", "raises": how}, affinity=how)
    assert messages[-1].failed.error.code == "crew_error"
    assert messages[-1].failed.error.message.startswith(message)
    after = await surroundings(run_crew, affinity=how)
    assert after["pid"] == before["pid"]


async def test_a_crew_that_cannot_be_built_fails_with_the_reason(
    pool: RunnerPool, execute: Any
) -> None:
    runner = await pool.acquire("tests")
    request = execute()
    request.definition_json = '{"build_error": "no such tool"}'
    messages = [message async for message in runner.execute(request)]
    await runner.release()
    assert [m.failed.error.message for m in messages] == ["ValueError: no such tool"]


async def test_an_output_too_large_for_a_message_fails_the_run_and_says_so(
    run_crew: RunCrew,
) -> None:
    messages = await run_crew({"name": "t", "answer": "x", "repeat": 9 * 1024 * 1024})
    assert "the output is too large" in messages[-1].failed.error.message
    (completed,) = payloads(messages, "task.completed")
    assert completed["truncated"] is True
    assert len(completed["output"]) == 8_000


async def test_a_structured_answer_comes_as_json_too(run_crew: RunCrew) -> None:
    messages = await run_crew({"name": "t", "answer": '{"value": 42}', "structured": True})
    assert json.loads(messages[-1].finished.output_json) == {"value": 42}


async def test_a_resumed_run_does_not_repeat_what_is_finished(run_crew: RunCrew) -> None:
    tasks = [
        {"name": "one", "answer": '{"value": 1}', "structured": True},
        {"name": "two", "answer": "two"},
        {"name": "three", "answer": "what was said before"},
    ]
    first = await run_crew(*tasks)
    saved = [m.checkpoint for m in first if m.HasField("checkpoint")]
    assert [checkpoint.task_index for checkpoint in saved] == [0, 1, 2]
    assert all(len(checkpoint.output) < 2_000 for checkpoint in saved)

    # The second is missing, so the third doesn't count.
    messages = await run_crew(*tasks, checkpoints=[saved[0], saved[2]], affinity="resume")
    assert [task for kind, task, _, _ in told(messages) if kind == "task.started"] == [
        "two",
        "three",
    ]
    assert payloads(messages, "task.started")[0]["index"] == 1
    assert messages[-1].finished.usage.model_calls == 2

    messages = await run_crew(*tasks, checkpoints=saved[:2], affinity="resume")
    assert [task for kind, task, _, _ in told(messages) if kind == "task.started"] == ["three"]
    assert messages[-1].finished.output == '{"value": 1} and two'


async def test_a_run_that_had_finished_every_task_only_tells_its_output(run_crew: RunCrew) -> None:
    task = {"name": "t", "answer": '{"value": 7}', "structured": True}
    saved = [m.checkpoint for m in await run_crew(task) if m.HasField("checkpoint")]
    messages = await run_crew(task, checkpoints=saved)
    assert told(messages) == []
    assert json.loads(messages[-1].finished.output_json) == {"value": 7}
    assert messages[-1].finished.usage == Usage()


async def test_a_checkpoint_that_cannot_be_read_fails_the_run(run_crew: RunCrew) -> None:
    broken = TaskCheckpoint(task_index=0, output=b'{"output": {}}')
    messages = await run_crew({"name": "t", "answer": "a"}, checkpoints=[broken])
    assert messages[-1].failed.error.message.startswith("ValidationError")


async def test_a_run_sees_its_own_variables_and_directory_only(
    run_crew: RunCrew, pool: RunnerPool, tmp_path: Path
) -> None:
    facts = await surroundings(run_crew, environment={"API_TOKEN": "mine"}, affinity="see")
    assert facts["environment"]["API_TOKEN"] == "mine"
    assert "the mesh's secret" not in facts["environment"].values()
    for variable in ("HOME", "TMPDIR", "CREWAI_STORAGE_DIR"):
        assert facts["environment"][variable] == facts["directory"]
    assert facts["group"] == facts["pid"]
    # When all want the processors, those go first who keep its lease and stream its events.
    assert facts["niceness"] == 19
    assert facts["session_niceness"] in (10, None)

    again = await surroundings(run_crew, environment={"OTHER": "1"}, affinity="see")
    assert again["pid"] == facts["pid"], "the same process serves both"
    assert "API_TOKEN" not in again["environment"]
    assert again["environment"]["OTHER"] == "1"


async def test_a_run_finds_no_file_of_the_run_before_it(run_crew: RunCrew) -> None:
    await run_crew({"name": "t", "tool": ["keep", {"content": "x"}], "answer": "a"}, affinity="dir")
    facts = await surroundings(run_crew, affinity="dir")
    assert not {"figures.csv", ".artifacts"} & set(facts["files"])


async def test_runners_share_no_descriptor_but_the_standard_ones(run_crew: RunCrew) -> None:
    one, other = await surroundings(run_crew), await surroundings(run_crew, affinity="descriptors")
    assert one["pid"] != other["pid"]
    assert one["fds"][:2] == other["fds"][:2] == ["/dev/null", "/dev/null"]
    own = [{fd for fd in facts["fds"] if fd.startswith("socket:")} for facts in (one, other)]
    assert all(own)
    assert not own[0] & own[1]


async def test_what_a_tool_prints_is_logged_and_other_processes_stay_silent(
    run_crew: RunCrew,
) -> None:
    lines = ["first", "second \x00 line", "no line break"]
    messages = await run_crew({"name": "t", "tool": ["talk", {"lines": lines}], "answer": "a"})
    logged = [(task, p) for kind, task, _, p in told(messages) if kind == "log"]
    assert logged == [
        ("t", {"level": "info", "message": "first"}),
        ("t", {"level": "info", "message": "second \N{REPLACEMENT CHARACTER} line"}),
        # Shown once it's clear that nothing follows: at the run's end.
        ("", {"level": "info", "message": "no line break"}),
    ]
    assert messages[-1].finished.output == "a"


async def test_a_tool_s_artifact_is_the_file_as_it_was_saved(
    pool: RunnerPool, execute: Any
) -> None:
    runner = await pool.acquire("tests")
    task = {"name": "t", "tool": ["keep", {"content": "a,b"}], "answer": "what the tool said"}
    messages = [message async for message in runner.execute(execute(task))]
    (artifact,) = [m.artifact for m in messages if m.HasField("artifact")]
    content = (runner.work_dir / artifact.path).read_text()
    await runner.release()
    assert content == "a,b"
    assert (artifact.name, artifact.media_type, artifact.task) == ("figures.csv", "text/csv", "t")
    assert "write it there" in messages[-1].finished.output


async def test_the_class_of_agents_states_is_not_made_anew_for_each_run(run_crew: RunCrew) -> None:
    task = {"name": "t", "tool": ["state_classes", {}], "answer": "what the tool said"}
    counts = {(await run_crew(task, affinity="classes"))[-1].finished.output for _ in range(3)}
    assert counts == {"1"}


async def test_a_task_that_was_approved_is_done_and_the_next_one_that_asks_gets_its_own_answer(
    run_crew: RunCrew,
) -> None:
    tasks = [
        {"name": "one", "answer": "first", "human": True},
        {"name": "two", "answer": "second", "human": True},
        {"name": "three", "answer": "what was said before"},
    ]
    kept: dict[int, TaskCheckpoint] = {}

    async def attempt(answer: HumanAnswer | None) -> list[FromRunner]:
        messages = await run_crew(
            *tasks, checkpoints=kept.values(), answer=answer, affinity="approve"
        )
        kept.update({m.checkpoint.task_index: m.checkpoint for m in messages if is_checkpoint(m)})
        return messages

    first = await attempt(None)
    assert first[-1].waiting.task == "one"
    second = await attempt(HumanAnswer(approve=True))
    assert [m.event.task for m in second if m.event.type == "task.completed"] == ["one"]
    kinds = [message.WhichOneof("message") for message in second]
    assert kinds[:2] == ["checkpoint", "event"]
    assert second[-1].waiting.task == "two"
    third = await attempt(HumanAnswer(approve=True))
    completed = [m.event for m in third if m.event.type == "task.completed"]
    assert [event.task for event in completed] == ["two", "three"]
    assert json.loads(completed[0].payload_json)["output"] == "second"
    assert third[-1].finished.output == "first and second"
    assert not any(checkpoint.waiting for checkpoint in kept.values())


def is_checkpoint(message: FromRunner) -> bool:
    return message.HasField("checkpoint")
