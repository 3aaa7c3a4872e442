"""Long-term memory in the whole mesh: it is there later, and it never leaks."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.e2e.conftest import Mesh


async def begin(mesh: Mesh) -> str:
    async with mesh.http.post("/v1/sessions", json={"crew": "rememberer"}) as response:
        assert response.status == 201, await response.text()
        session: str = (await response.json())["id"]
        return session


async def say(mesh: Mesh, session: str, content: str) -> str:
    path = f"/v1/sessions/{session}/messages?wait=60"
    async with mesh.http.post(path, json={"content": content}) as response:
        assert response.status == 200, await response.text()
        answer: str = (await response.json())["answer"]["content"]
        return answer


async def run(mesh: Mesh, content: str, **fields: Any) -> str:
    body = {"crew": "rememberer", "inputs": {"message": content}, **fields}
    async with mesh.http.post("/v1/runs?wait=60", json=body) as response:
        assert response.status == 200, await response.text()
        output: str = (await response.json())["output"]
        return output


async def test_what_was_said_in_a_session_is_recalled_in_it_and_nowhere_else(mesh: Mesh) -> None:
    mine, theirs = await begin(mesh), await begin(mesh)
    assert await say(mesh, mine, "my door code is code-blue7") == "recalled nothing"
    assert await say(mesh, mine, "what is my door code?") == "recalled code-blue7"
    # The same question, in the same process, in another session, or in none.
    assert await say(mesh, theirs, "what is my door code?") == "recalled nothing"
    assert await run(mesh, "what is my door code?", session_id="a-label") == "recalled nothing"
    assert await say(mesh, theirs, "my door code is code-red9") == "recalled nothing"
    assert await say(mesh, theirs, "tell me my door code") == "recalled code-red9"
    assert await say(mesh, mine, "tell me my door code") == "recalled code-blue7"


async def test_concurrent_sessions_with_the_same_words_keep_apart(mesh: Mesh) -> None:
    sessions = [await begin(mesh) for _ in range(6)]

    async def talk(number: int, session: str) -> str:
        await say(mesh, session, f"the vault opens with code-{number}")
        return await say(mesh, session, "what does the vault open with?")

    answers = await asyncio.gather(*(talk(n, s) for n, s in enumerate(sessions)))
    assert answers == [f"recalled code-{number}" for number in range(6)]


async def test_a_memory_can_be_deleted_and_goes_with_its_session(mesh: Mesh) -> None:
    session = await begin(mesh)
    await say(mesh, session, "the gate opens with code-green1")
    async with mesh.http.delete(f"/v1/sessions/{session}/memory") as response:
        assert response.status == 200
        assert (await response.json())["deleted"] == 1
    assert await say(mesh, session, "what does the gate open with?") == "recalled nothing"
    async with mesh.http.delete(f"/v1/sessions/{session}") as response:
        assert response.status == 204
    again = "what does the gate open with?"
    assert await run(mesh, again, session_id=session) == "recalled nothing"


async def test_runs_without_a_session_share_what_their_crew_learned(mesh: Mesh) -> None:
    await run(mesh, "the cellar opens with code-cellar5")
    assert await run(mesh, "what does the cellar open with?") == "recalled code-cellar5"
    assert await say(mesh, await begin(mesh), "what does the cellar open with?") == (
        "recalled nothing"
    )
