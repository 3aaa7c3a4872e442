"""Which calls of a guarded tool are the same call."""

from __future__ import annotations

import os

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")

import pytest
from crewai import Agent, Crew, Task
from crewai.tools import BaseTool
from pydantic import Field

from crewmesh.v1.run_store_pb2 import Effect
from crewmesh.v1.runner_pb2 import EffectKept, FromRunner, ToRunner
from crewmesh_worker.models import make_llm
from crewmesh_worker.runner.effects import EffectJournal, current_key


class Pay(BaseTool):
    """Fails as often as it is told to, then pays."""

    name: str = "pay"
    description: str = "Pays."
    side_effects: bool = True
    failures: int = 0
    keys: list[str] = Field(default_factory=list)

    def _run(self, amount: int) -> str:
        self.keys.append(current_key())
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no answer")
        return f"paid {amount}"


def guarded(tool: Pay, made: list[Effect], kept: list[Effect]) -> Pay:
    def keep(question: FromRunner) -> ToRunner:
        kept.append(question.effect)
        return ToRunner(effect_kept=EffectKept(key=question.effect.key))

    agent = Agent(role="r", goal="g", backstory="b", tools=[tool], llm=make_llm("offline"))
    task = Task(description="d", expected_output="e", agent=agent)
    crew = Crew(agents=[agent], tasks=[task])
    EffectJournal(made, keep, "run-1").guard(crew)
    (own,) = crew.agents[0].tools
    assert isinstance(own, Pay)
    return own


def test_a_call_that_failed_is_the_same_call_when_it_is_tried_again() -> None:
    kept: list[Effect] = []
    tool = guarded(Pay(failures=1), [], kept)
    with pytest.raises(ConnectionError):
        tool._run(amount=5)
    assert tool._run(amount=5) == "paid 5"
    assert len(set(tool.keys)) == 1
    assert tool.keys[0] == f"run-1/{kept[0].key}"
    later = guarded(Pay(), kept, [])
    assert later._run(amount=5) == "paid 5"
    assert later.keys == []


def test_equal_calls_that_succeed_are_two() -> None:
    kept: list[Effect] = []
    tool = guarded(Pay(), [], kept)
    tool._run(amount=5)
    tool._run(amount=5)
    assert len({effect.key for effect in kept}) == len(set(tool.keys)) == 2
    assert current_key() == ""
