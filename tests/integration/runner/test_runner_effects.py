"""Calls with effects, over attempts: none is made twice, and none that an agent asks for is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integration.runner.conftest import RunCrew

from crewmesh.v1.run_store_pb2 import Effect, HumanAnswer, TaskCheckpoint
from crewmesh.v1.runner_pb2 import FromRunner

APPROVAL = '{"approval": {"tools": ["pay"]}}'


class Attempts:
    """The attempts of one run, each with what those before it have left."""

    def __init__(self, run_crew: RunCrew, task: dict[str, Any], policy: str = "") -> None:
        self._run_crew = run_crew
        self._task = task
        self._policy = policy
        self.waiting: list[TaskCheckpoint] = []
        self.effects: list[Effect] = []

    async def make(self, answer: HumanAnswer | None = None) -> FromRunner:
        """Make one, and return how it ended."""
        messages = await self._run_crew(
            self._task, checkpoints=self.waiting, effects=self.effects, answer=answer,
            policy_json=self._policy, affinity="effects",
        )  # fmt: skip
        checkpoints = [m.checkpoint for m in messages if m.HasField("checkpoint")]
        self.waiting = [c for c in checkpoints if c.waiting] or self.waiting
        self.effects += [m.effect for m in messages if m.HasField("effect")]
        return messages[-1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "payments"


def payments(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0


async def test_an_equal_call_after_a_persons_word_is_made_and_no_attempt_repeats_it(
    run_crew: RunCrew, file: Path
) -> None:
    task = {"name": "t", "human": True, "tool": ["pay", {"file": str(file)}]}
    attempts = Attempts(run_crew, {**task, "answer": "what the tool said"})
    first = await attempts.make()
    assert first.HasField("waiting"), first
    assert payments(file) == 1
    asked, again = list(attempts.waiting), HumanAnswer(text="Pay once more.", approve=False)
    second = await attempts.make(again)
    assert "paid 2" in second.waiting.payload_json
    assert payments(file) == 2
    # As if that attempt had been lost after its call: it is made anew, its call isn't.
    attempts.waiting = asked
    third = await attempts.make(again)
    assert "paid 2" in third.waiting.payload_json
    assert payments(file) == 2
    await attempts.make(again)
    assert payments(file) == 3


async def test_an_attempt_that_begins_the_task_anew_repeats_no_call(
    run_crew: RunCrew, file: Path
) -> None:
    task = {"name": "t", "times": 3, "tool": ["pay", {"file": str(file)}], "answer": "done"}
    attempts = Attempts(run_crew, task)
    await attempts.make()
    assert payments(file) == 3
    await attempts.make()
    assert payments(file) == 3
    assert len({effect.key for effect in attempts.effects}) == len(attempts.effects) == 3


async def test_equal_calls_that_a_person_approves_one_by_one_are_all_made_once(
    run_crew: RunCrew, file: Path
) -> None:
    task = {"name": "t", "times": 3, "tool": ["pay", {"file": str(file)}]}
    attempts = Attempts(run_crew, {**task, "answer": "what the tool said"}, APPROVAL)
    end = await attempts.make()
    for number in range(3):
        assert payments(file) == number
        assert end.HasField("waiting"), end
        end = await attempts.make(HumanAnswer(approve=True))
    assert end.finished.output == "paid 3"
    assert payments(file) == 3
    # Lost after its last call, and made anew.
    assert (await attempts.make(HumanAnswer(approve=True))).finished.output == "paid 3"
    assert payments(file) == 3
