"""What runs in a project's environment, in ours."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM, Agent
from crewai.llms.base_llm import BaseLLM

from crewmesh.common.policy import ModelPolicy, Policy
from crewmesh.v1.run_store_pb2 import HumanAnswer
from crewmesh.v1.runner_pb2 import CallTerms, FromRunner, ToRunner
from crewmesh_worker.models.guarded import GuardedModel
from crewmesh_worker.models.offline import OfflineLLM
from crewmesh_worker.projects.inside.journal import (
    CallKey,
    Journal,
    MethodRecord,
    TaskKey,
    TaskRecord,
    WaitingRecord,
)
from crewmesh_worker.projects.inside.models import every_model_call, exchanged_models, missing_key
from crewmesh_worker.projects.inside.people import exact_outcome, feedback_text
from crewmesh_worker.projects.inside.script import called_names, literal_inputs
from crewmesh_worker.projects.inside.workspace import Workspace
from crewmesh_worker.runner.calls import CallRefused, ModelCalls

MAIN = """
from datetime import datetime
from my.crew import My

def run():
    inputs = {"topic": "AI", "year": str(datetime.now().year), "n": [1, 2], **more}
    My().crew().kickoff(inputs=inputs)

def train():
    My().crew().train(inputs={"topic": "other"})
"""


def test_the_inputs_of_the_start_function_are_read_and_not_run() -> None:
    values, expressions = literal_inputs(MAIN, "run")
    assert values == {"topic": "AI", "n": [1, 2]}
    assert expressions == {"year": "str(datetime.now().year)"}
    assert literal_inputs(MAIN, "train") == ({"topic": "other"}, {})
    assert literal_inputs(MAIN, "absent") == ({}, {})
    assert "My" in called_names(MAIN, "run")


@pytest.mark.parametrize(
    ("model", "given", "environ", "missing"),
    [
        ("gpt-4.1-mini", {}, {}, "OPENAI_API_KEY"),
        ("openai/gpt-4o", {}, {"OPENAI_API_KEY": "sk-real"}, ""),
        ("openai/gpt-4o", {}, {"OPENAI_API_KEY": "YOUR_API_KEY"}, "OPENAI_API_KEY"),
        ("openai/gpt-4o", {}, {"OPENAI_API_KEY": " "}, "OPENAI_API_KEY"),
        ("openai/gpt-4o", {"api_key": "sk-real"}, {}, ""),
        ("openai/gpt-4o", {"api_key": "YOUR_API_KEY"}, {}, "OPENAI_API_KEY"),
        ("openai/local", {"base_url": "http://127.0.0.1:1"}, {}, ""),
        ("claude-sonnet-5", {}, {}, "ANTHROPIC_API_KEY"),
        ("google/gemini-3", {}, {"GOOGLE_API_KEY": "key"}, ""),
        ("gemini/gemini-3", {}, {}, "GEMINI_API_KEY"),
        ("ollama/llama3", {}, {}, ""),
        ("bedrock/x", {}, {}, ""),
        ("my-own", {"provider": "anthropic"}, {}, "ANTHROPIC_API_KEY"),
    ],
)
def test_whether_a_model_has_a_key(
    model: str, given: dict[str, Any], environ: dict[str, str], missing: str
) -> None:
    assert missing_key(model, given, environ) == missing


def test_a_model_without_a_key_is_exchanged_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-real")
    said: list[str] = []
    with exchanged_models(OfflineLLM, always=False, say=said.append, guard=guarded):
        models = [LLM(model="gpt-4o"), LLM(model="gpt-4o")]
    assert [type(model) for model in models] == [OfflineLLM, OfflineLLM]
    assert len(said) == 1
    assert "OPENAI_API_KEY" in said[0]
    with exchanged_models(OfflineLLM, always=True, say=said.append, guard=guarded):
        assert type(LLM(model="ollama/llama3")) is OfflineLLM
    monkeypatch.setenv("OPENAI_API_KEY", "YOUR_API_KEY")
    with exchanged_models(OfflineLLM, always=False, say=said.append, guard=guarded):
        assert type(LLM(model="gpt-4o")) is OfflineLLM
    assert "OPENAI_API_KEY has no key but a template's placeholder" in said[-1]


def test_a_model_with_a_key_is_the_projects_own_behind_the_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    with exchanged_models(OfflineLLM, always=False, say=print, guard=guarded):
        model = LLM(model="gpt-4o", temperature=0.3)
        agent = Agent(role="a", goal="b", backstory="c", llm="gpt-4o")
    assert isinstance(model, GuardedModel)
    assert (model.first.model, model.first.temperature, model.first.stream) == ("gpt-4o", 0.3, True)
    assert isinstance(agent.llm, GuardedModel)
    assert not isinstance(LLM(model="gpt-4o"), GuardedModel), "only within"


class Answering(BaseLLM):
    """A model of a project's own making."""

    def call(self, messages: Any, *_: Any, from_agent: Any = None, **__: Any) -> Any:
        self._invoke_before_llm_call_hooks([{"role": "user", "content": messages}], from_agent)
        return "answered"


@pytest.mark.parametrize(
    ("budgeted", "policy", "code"),
    [
        (False, Policy(), ""),
        (True, Policy(), "uncounted_model"),
        (False, Policy(models=ModelPolicy(allowed=["anthropic/*"])), "policy_denied"),
    ],
)
def test_a_call_past_the_guard_is_made_only_where_nobody_has_to_count_it(
    budgeted: bool, policy: Policy, code: str
) -> None:
    terms = CallTerms(budgeted=budgeted)
    calls = ModelCalls(terms, OfflineLLM, unasked, print, print, policy)
    with every_model_call(calls.refuse_uncounted):
        if not code:
            assert Answering(model="mine").call("Hello?") == "answered"
            return
        with pytest.raises(CallRefused) as refused:
            Answering(model="mine").call("Hello?")
    assert refused.value.code == code
    assert calls.refused is refused.value
    assert Answering(model="mine").call("Hello?") == "answered", "only within"


def test_a_model_that_the_policy_forbids_is_not_called() -> None:
    policy = Policy(models=ModelPolicy(allowed=["anthropic/*"]))
    calls = ModelCalls(CallTerms(), OfflineLLM, unasked, print, print, policy)
    with pytest.raises(CallRefused, match="mine isn't allowed"):
        calls.guarded(Answering(model="mine")).call("Hello?")


def unasked(question: FromRunner) -> ToRunner:
    raise AssertionError(question)


def guarded(model: BaseLLM) -> BaseLLM:
    return ModelCalls(CallTerms(), OfflineLLM, unasked, print, print).guarded(model)


@pytest.mark.parametrize(
    ("text", "approve", "outcomes", "feedback"),
    [
        ("shorter, please", None, ["approved", "rejected"], "shorter, please"),
        ("", True, ["approved", "rejected"], "approved"),
        ("", False, ["approved", "rejected"], "rejected"),
        ("", False, ["needs_revision", "approved"], "needs_revision"),
        ("", True, ["needs_revision", "fine"], "fine"),
        ("", True, ["red", "green", "blue"], ""),
        ("", False, ["red", "green", "blue"], "This is not approved."),
        ("", True, [], ""),
        ("as it is", True, ["approved", "rejected"], "as it is"),
    ],
)
def test_an_answer_is_feedback(
    text: str, approve: bool | None, outcomes: list[str], feedback: str
) -> None:
    assert feedback_text(HumanAnswer(text=text, approve=approve), outcomes) == feedback


def test_feedback_that_names_an_outcome_needs_no_model() -> None:
    collapse = exact_outcome(lambda **_: "by the model")
    assert collapse("Approved ", ["approved", "rejected"], None) == "approved"
    assert collapse("well done", ["approved", "rejected"], None) == "by the model"


FIRST, SECOND = CallKey("first", 1), CallKey("second", 1)


def record(key: CallKey, index: int, state: Any) -> MethodRecord:
    return MethodRecord(key, index, {"method": key.method, "output": 1}, 1, state)


def test_a_journal_reads_what_another_wrote() -> None:
    journal = Journal(())
    task = TaskRecord(TaskKey(SECOND, "crew", 1, 0), 2, b"output")
    written = [
        journal.write(record(FIRST, 0, {"n": 1})),
        journal.write(task),
        journal.write_waiting(WaitingRecord("ask", SECOND, {"n": 2}, answers=["yes"])),
    ]
    kept = [checkpoint for checkpoint in written if checkpoint is not None]
    assert [checkpoint.task_index for checkpoint in kept] == [0, 1, 2]
    assert [checkpoint.waiting for checkpoint in kept] == [False, False, True]
    later = Journal(reversed(kept))
    assert later.methods == {FIRST: record(FIRST, 0, {"n": 1})}
    assert later.tasks == {task.key: task}
    assert later.last_state == {"n": 2}
    assert later.open_question is not None
    assert later.open_question.answers == ["yes"]
    done = later.write(record(SECOND, 1, {"n": 3}))
    assert done is not None
    assert done.task_index == 3
    assert Journal([*kept, done]).open_question is None


def test_nothing_is_kept_after_what_could_not_be() -> None:
    journal = Journal(())
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        journal.write(record(FIRST, 0, {"lock": lambda: None}))
    assert journal.write(record(SECOND, 1, {})) is None


def test_files_that_a_run_makes_or_changes_are_collected_once(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    (snapshot / "src").mkdir(parents=True)
    (snapshot / "src" / "crew.py").write_text("crew")
    (snapshot / "report.md").write_text("old")
    made = tmp_path / "made"
    made.mkdir()
    (made / "earlier.txt").write_text("of an earlier attempt")
    saved: list[str] = []
    workspace = Workspace(tmp_path / "work", lambda path, name: saved.append(name))
    workspace.fill(snapshot, made, "KEY=value")
    assert (workspace.directory / "earlier.txt").exists()
    assert (workspace.directory / ".env").read_text() == "KEY=value"

    assert workspace.collect() == []
    assert saved == []
    (workspace.directory / "report.md").write_text("newer")
    (workspace.directory / "out").mkdir()
    (workspace.directory / "out" / "a.csv").write_text("1")
    (workspace.directory / "link").symlink_to("/etc/passwd")
    assert workspace.collect() == []
    assert saved == ["report.md", "out/a.csv"]
    (workspace.directory / "report.md").write_text("newer")
    assert workspace.collect() == []
    assert saved == ["report.md", "out/a.csv"], "the same content is no new file"


def test_more_files_than_are_kept_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmesh_worker.projects.inside.workspace._MAX_FILES", 1)
    (tmp_path / "snapshot").mkdir()
    saved: list[str] = []
    workspace = Workspace(tmp_path / "work", lambda path, name: saved.append(name))
    workspace.fill(tmp_path / "snapshot", None, "")
    for name in ("a", "b"):
        (workspace.directory / name).write_text(name)
    assert workspace.collect() == ["b"]
    assert workspace.collect() == [], "it is said once"
    assert saved == ["a"]
