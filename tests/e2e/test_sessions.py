"""Conversations in the whole mesh: over REST, gRPC and the command line."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from crewmesh.v1 import session_pb2, session_pb2_grpc
from tests.e2e.conftest import ROOT, Mesh, running_mesh
from tests.measuring import MEASURED


async def begin(mesh: Mesh, **inputs: Any) -> str:
    async with mesh.http.post(
        "/v1/sessions", json={"crew": "talker", "inputs": inputs}
    ) as response:
        assert response.status == 201, await response.text()
        session: str = (await response.json())["id"]
        return session


async def say(mesh: Mesh, session: str, content: str, wait: int = 0, **headers: str) -> Any:
    path = f"/v1/sessions/{session}/messages?wait={wait}"
    async with mesh.http.post(path, json={"content": content}, headers=headers) as response:
        assert response.status == (200 if wait else 202), await response.text()
        return await response.json()


async def conversation(mesh: Mesh, session: str) -> list[tuple[str, str]]:
    page = await mesh.get(f"/v1/sessions/{session}/messages?limit=200")
    return [(message["role"], message["content"]) for message in page["items"]]


async def ended(mesh: Mesh, session: str) -> list[tuple[str, str]]:
    """Wait until every message is answered, and return the conversation."""
    async with asyncio.timeout(60):
        while (await mesh.get(f"/v1/sessions/{session}"))["open_turns"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return await conversation(mesh, session)


async def problem(mesh: Mesh, method: str, path: str, **body: Any) -> tuple[int, str]:
    async with mesh.http.request(method, path, json=body or None) as response:
        answer = await response.json()
        return response.status, answer["code"]


async def test_a_crew_knows_what_was_said_before(mesh: Mesh) -> None:
    session = await begin(mesh, name="Ada")
    said = await say(mesh, session, "good\nmorning", wait=30)
    assert said["answer"]["content"] == "heard 'good\\nmorning' after 0 lines"
    assert (said["message"]["number"], said["answer"]["number"]) == (1, 2)
    assert said["run"]["session_id"] == session
    assert said["run"]["turn"] == 1
    said = await say(mesh, session, "what did I say first?", wait=30)
    assert said["answer"]["content"] == "good"
    listed = await mesh.get(f"/v1/runs?session_id={session}")
    assert [run["turn"] for run in listed["items"]] == [2, 1]
    shown = await mesh.get(f"/v1/sessions/{session}")
    assert (shown["turns"], shown["open_turns"], shown["inputs"]) == (2, 0, {"name": "Ada"})


async def test_messages_posted_at_once_are_answered_one_after_another_in_their_order(
    mesh: Mesh,
) -> None:
    sessions = [await begin(mesh) for _ in range(3)]
    await asyncio.gather(
        *(say(mesh, session, f"m{number}") for number in range(6) for session in sessions)
    )
    for session in sessions:
        messages = await ended(mesh, session)
        assert [role for role, _ in messages] == ["user", "assistant"] * 6
        assert sorted(text for role, text in messages if role == "user") == [
            f"m{number}" for number in range(6)
        ]
        for turn in range(6):
            (_, asked), (_, answer) = messages[2 * turn : 2 * turn + 2]
            assert answer == f"heard {asked!r} after {2 * turn} lines"


async def test_a_message_without_an_answer_is_followed_by_the_reason(mesh: Mesh) -> None:
    session = await begin(mesh)
    said = await say(mesh, session, "fail", wait=30)
    assert said["run"]["status"] == "failed"
    assert said["answer"]["role"] == "system"
    assert said["answer"]["content"].startswith("No answer: the run failed (crew_error: ")
    slow = await say(mesh, session, "pause 60000 ms")
    async with mesh.http.post(f"/v1/runs/{slow['run']['id']}/cancel") as response:
        assert response.status == 200
    assert (await ended(mesh, session))[3] == ("system", "No answer: the run was cancelled.")
    said = await say(mesh, session, "still there?", wait=30)
    assert said["answer"]["content"] == "heard 'still there?' after 4 lines"


@pytest.mark.long
async def test_a_session_goes_on_in_order_when_its_worker_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    async with running_mesh(tmp_path / "mesh", "--workers", "2") as mesh:
        session = await begin(mesh, pid_file=str(pid_file))
        slow = await say(mesh, session, "pause 3000 ms")
        for number in range(3):
            await say(mesh, session, f"m{number}")
        async for event in mesh.watch(slow["run"]["id"]):
            if event["type"] == "task.started":
                break
        # The runner's parent is the zygote, whose parent is the worker.
        psutil.Process(int(pid_file.read_text(encoding="utf-8"))).parents()[1].kill()
        messages = await ended(mesh, session)
        attempts = (await mesh.get(f"/v1/runs/{slow['run']['id']}"))["attempt"]
    assert attempts == 2
    expected = ["pause 3000 ms", "m0", "m1", "m2"]
    assert [text for role, text in messages if role == "user"] == expected
    assert [text for role, text in messages if role == "assistant"] == [
        f"heard {text!r} after {2 * turn} lines" for turn, text in enumerate(expected)
    ]


async def test_bad_requests_are_refused_with_what_is_wrong(mesh: Mesh) -> None:
    session = await begin(mesh)
    messages = f"/v1/sessions/{session}/messages"
    none = "/v1/sessions/00000000-0000-7000-8000-000000000000"
    assert await problem(mesh, "POST", "/v1/sessions", crew="hello") == (409, "not_conversational")
    assert await problem(mesh, "POST", "/v1/sessions", crew="nobody") == (404, "crew_not_found")
    given = {"crew": "talker", "inputs": {"message": "hi"}}
    assert (await problem(mesh, "POST", "/v1/sessions", **given))[0] == 422
    assert (await problem(mesh, "POST", messages, content="x"))[0] == 422
    assert (await problem(mesh, "POST", messages, content="  "))[0] == 422
    assert await problem(mesh, "GET", none) == (404, "session_not_found")
    assert await problem(mesh, "POST", none + "/messages", content="hi!") == (
        404,
        "session_not_found",
    )
    assert await conversation(mesh, session) == []
    first = await say(mesh, session, "only once", **{"Idempotency-Key": f"key-{session}"})
    again = await say(mesh, session, "only once", **{"Idempotency-Key": f"key-{session}"})
    assert again["run"]["id"] == first["run"]["id"]
    path = f"/v1/sessions/{session}/messages"
    headers = {"Idempotency-Key": f"key-{session}"}
    async with mesh.http.post(path, json={"content": "other"}, headers=headers) as response:
        assert response.status == 409
    assert len(await ended(mesh, session)) == 2


async def test_a_deleted_session_is_gone_and_so_are_its_runs(mesh: Mesh) -> None:
    session = await begin(mesh)
    slow = await say(mesh, session, "pause 60000 ms")
    queued = await say(mesh, session, "after it")
    async with mesh.http.delete(f"/v1/sessions/{session}") as response:
        assert response.status == 204
    for posted in (slow, queued):
        run = await mesh.get(f"/v1/runs/{posted['run']['id']}?wait=30")
        assert run["status"] == "cancelled"
    assert (await problem(mesh, "GET", f"/v1/sessions/{session}/messages"))[0] == 404


async def test_an_internal_service_holds_a_conversation_over_grpc(mesh: Mesh) -> None:
    key = (("authorization", f"Bearer {mesh.api_key}"),)
    async with grpc.aio.insecure_channel(mesh.grpc) as channel:
        sessions = session_pb2_grpc.SessionServiceStub(channel)
        made = await sessions.CreateSession(
            session_pb2.CreateSessionRequest(crew="talker", title="over gRPC"), metadata=key
        )
        request = session_pb2.PostMessageRequest(session_id=made.session.id, content="hello")
        request.wait.FromSeconds(30)
        posted = await sessions.PostMessage(request, metadata=key)
        assert posted.answer.content == "heard 'hello' after 0 lines"
        listed = await sessions.ListMessages(
            session_pb2.ListMessagesRequest(session_id=made.session.id), metadata=key
        )
        assert [m.role for m in listed.messages] == ["user", "assistant"]
        found = await sessions.ListSessions(
            session_pb2.ListSessionsRequest(crew="talker"), metadata=key
        )
        assert found.sessions[0].title == "over gRPC"
        await sessions.DeleteSession(
            session_pb2.DeleteSessionRequest(session_id=made.session.id), metadata=key
        )


async def crewmesh(mesh: Mesh, *arguments: str, lines: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crewmesh.cli", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={
            **MEASURED,
            "CREWMESH_URL": mesh.url,
            "CREWMESH_API_KEY": mesh.api_key,
            "PATH": "/usr/bin:/bin",
        },
    )
    out, err = await process.communicate(lines.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_lines_piped_into_chat_are_answered_line_by_line(mesh: Mesh) -> None:
    status, out, _ = await crewmesh(mesh, "chat", "talker", lines="hello\n\nhow are you?\n")
    assert status == 0
    assert out == "heard 'hello' after 0 lines\nheard 'how are you?' after 2 lines\n"
    status, out, err = await crewmesh(mesh, "chat", "talker", lines="fail\nnever said\n")
    assert (status, out) == (1, "")
    assert "told to fail" in err
    status, out, err = await crewmesh(mesh, "chat", "hello", lines="hi\n")
    assert (status, out) == (1, "")
    assert "can't hold a conversation" in err


async def test_a_conversation_goes_on_where_it_was_and_can_be_shown_and_deleted(
    mesh: Mesh,
) -> None:
    _, out, _ = await crewmesh(mesh, "chat", "talker", "--json", lines="first words\n")
    session = json.loads(out)["run"]["session_id"]
    status, out, _ = await crewmesh(
        mesh, "chat", "--session", session, lines="what did I say first?\n"
    )
    assert (status, out) == (0, "first words\n")
    _, out, _ = await crewmesh(mesh, "sessions", "show", session)
    assert "user: first words\n" in out
    assert "assistant: first words\n" in out
    _, out, _ = await crewmesh(mesh, "sessions", "ls", "--crew", "talker")
    assert session in out
    status, _, _ = await crewmesh(mesh, "sessions", "rm", session)
    assert status == 0
    status, _, err = await crewmesh(mesh, "sessions", "show", session)
    assert status == 1
    assert "there is no session" in err


async def test_the_how_tos_program_holds_a_conversation(mesh: Mesh, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/hold-a-conversation.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "talk.py"
    file.write_text(program, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(file)),
        stdout=asyncio.subprocess.PIPE,
        env={"CREWMESH_URL": mesh.url, "CREWMESH_API_KEY": mesh.api_key, "CREW": "talker"},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.decode().splitlines() == [
        "heard 'My name is Ada.' after 0 lines",
        "My name is Ada.",
        "1 user My name is Ada.",
        "2 assistant heard 'My name is Ada.' after 0 lines",
        "3 user what did I say first?",
        "4 assistant My name is Ada.",
    ]
