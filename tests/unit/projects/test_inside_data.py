"""What goes into a project and comes out of it: inputs, people's words, results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.flow.async_feedback import ConsoleProvider, HumanFeedbackPending
from crewai.flow.flow import Flow, start
from pydantic import BaseModel, Field

from crewmesh.v1.run_store_pb2 import HumanAnswer
from crewmesh_worker.models.offline import OfflineLLM
from crewmesh_worker.projects.inside.inputs import complete_inputs, inputs_schema, placeholders
from crewmesh_worker.projects.inside.inspection import _parts
from crewmesh_worker.projects.inside.journal import Call, CallKey, WaitingRecord, current_call
from crewmesh_worker.projects.inside.loading import Loaded
from crewmesh_worker.projects.inside.people import Feedback, FlowPaused, People
from crewmesh_worker.projects.inside.results import FlowOutput, flow_output

TRIGGER = "crewai_trigger_payload"


class Order(BaseModel):
    """A state with a field of every kind that its schema tells apart."""

    id: str = ""
    product: str
    pieces: int = Field(1, ge=1, description="How many.", json_schema_extra={"example": 3})


class Ordering(Flow[Order]):
    initial_state = Order(product="tea")

    @start()
    def order(self) -> str:
        return self.state.product


class Noting(Flow[dict[str, Any]]):
    @start()
    def note(self) -> None:
        self.state["noted"] = True


@pytest.fixture(scope="module")
def crew() -> Crew:
    agent = Agent(
        role=" {topic} expert ", goal="Know {topic}", backstory="{{topic}}", llm=OfflineLLM()
    )
    asked = 'Write of {topic} in {year}, as {"json": 1} for {reader-name}'
    tasks = [
        Task(description=asked, expected_output="{pages} pages", agent=agent, name="write"),
        Task(description="Read it", expected_output="yes "),
    ]
    # Whoever manages the crew gives the second task to somebody.
    return Crew(agents=[agent], tasks=tasks, process=Process.hierarchical, manager_llm=OfflineLLM())


def test_a_crew_takes_what_its_texts_name(crew: Crew) -> None:
    loaded = Loaded(
        crew,
        defaults={"topic": "AI", "pages": date(2026, 11, 29), "extra": [1]},
        computed={"year": "2025 + 1", "reader-name": "1 / 0", "pages": "date.today()"},
    )
    assert placeholders(crew) == ["topic", "year", "reader-name", "pages"]
    schema = inputs_schema(loaded)
    assert schema["required"] == ["reader-name", "pages"], "what has no value in JSON is asked for"
    assert schema["properties"] == {
        "topic": {"title": "Topic", "default": "AI"},
        "year": {
            "title": "Year",
            "description": "Where it is left out, the project says 2025 + 1",
        },
        "reader-name": {"title": "Reader-name"},
        "pages": {"title": "Pages"},
        "extra": {"title": "Extra", "default": [1]},
    }


def test_what_a_run_leaves_out_is_what_the_project_says(crew: Crew) -> None:
    loaded = Loaded(crew, defaults={"topic": "AI", "n": 1}, computed={"year": "2025 + 1"})
    assert complete_inputs(loaded, {"n": 2}) == {"topic": "AI", "n": 2, "year": 2026}
    assert complete_inputs(loaded, {"year": 1999})["year"] == 1999
    with pytest.raises(ZeroDivisionError):
        complete_inputs(Loaded(crew, computed={"year": "1 / 0"}), {})


def test_a_flow_takes_what_its_state_has() -> None:
    typed = inputs_schema(Loaded(Ordering()))
    assert typed["additionalProperties"] is False
    assert set(typed["properties"]) == {"product", "pieces", TRIGGER}
    assert typed["properties"]["pieces"] == {
        "type": "integer",
        "title": "Pieces",
        "default": 1,
        "minimum": 1,
        "description": "How many.",
    }
    noting = Noting()
    noting.state.update(since=date(2026, 11, 29), n=3)
    free = inputs_schema(Loaded(noting))
    assert free["properties"].keys() == {"n", TRIGGER}
    assert free["properties"]["n"] == {"default": 3}
    assert (free["required"], free["additionalProperties"]) == ([], {})


def test_a_projects_parts_are_its_agents_and_tasks_or_a_flows_methods(crew: Crew) -> None:
    parts = _parts(Loaded(crew))
    assert parts["agents"] == [{"role": "{topic} expert", "goal": "Know {topic}", "tools": []}]
    named = [(task["name"], task["expected_output"], task["agent"]) for task in parts["tasks"]]
    assert named == [("write", "{pages} pages", "{topic} expert"), ("", "yes", "")]
    methods = _parts(Loaded(Noting()))
    assert methods["agents"] == []
    assert [task["name"] for task in methods["tasks"]] == ["note"]


def test_a_flows_result_is_what_its_last_method_returned() -> None:
    flow = Noting()
    reviewed = SimpleNamespace(output="the draft", feedback="fine")
    of_crew = SimpleNamespace(raw="said", json_dict={"a": 1}, pydantic=None)
    order = Order(product="tea")
    assert flow_output("text", flow) == FlowOutput("text")
    assert flow_output(reviewed, flow) == FlowOutput("the draft")
    assert flow_output(of_crew, flow) == FlowOutput("said", {"a": 1})
    assert flow_output(SimpleNamespace(raw=1), flow) == FlowOutput("1")
    assert flow_output(order, flow).json_dict is order
    assert '"product": "tea"' in flow_output(order, flow).raw
    assert flow_output([1, float("nan")], flow).raw == "[\n  1,\n  null\n]"


def test_a_flow_that_returns_nothing_has_its_state_for_a_result() -> None:
    noting = Noting()
    noting.kickoff()
    assert flow_output(None, noting) == FlowOutput('{\n  "noted": true\n}', {"noted": True})
    assert flow_output(None, Ordering()).json_dict == {"product": "tea", "pieces": 1}


KEY = CallKey("review", 1)


@contextlib.contextmanager
def calling(*answers: str) -> Iterator[Call]:
    call = Call(KEY, answers=list(answers))
    token = current_call.set(call)
    try:
        yield call
    finally:
        current_call.reset(token)


def test_a_flow_that_asks_goes_on_by_its_answers_and_then_pauses() -> None:
    people, flow = People(None, None), Noting()
    with calling("tea", "two") as call:
        assert [people.request_input("What?", flow), people.request_input("How many?", flow)] == [
            "tea",
            "two",
        ]
        with pytest.raises(FlowPaused) as paused:
            people.request_input("When?", flow)
    assert paused.value.payload == {"prompt": "When?"}
    assert (paused.value.record.call, paused.value.record.answers) == (call.key, ["tea", "two"])
    with pytest.raises(RuntimeError, match="in a method of the flow only"):
        people.request_input("Outside?", flow)


def test_an_answer_is_given_to_the_question_that_it_was_asked_for() -> None:
    asked = WaitingRecord("ask", KEY, None, answers=["tea"])
    people = People(asked, HumanAnswer(text="two"))
    assert people.answers_of(KEY) == ["tea", "two"]
    assert people.answers_of(CallKey("review", 2)) == []
    assert people.feedback_on(KEY) is None
    review = WaitingRecord("feedback", KEY, None, body="draft")
    assert People(review, None).feedback_on(KEY) is None, "it has no answer yet"
    assert People(review, HumanAnswer(text="good")).feedback_on(KEY) == HumanAnswer(text="good")
    assert People(review, HumanAnswer(text="good")).answers_of(KEY) == []


class Own:
    """A project's provider, which knows, or has told whom it had to."""

    def __init__(self, known: str | None) -> None:
        self.known = known

    def request_feedback(self, context: Any, flow: Any) -> str:
        if self.known is None:
            raise HumanFeedbackPending(context=context)
        return self.known


def asked_for_review() -> Any:
    return SimpleNamespace(
        flow_id="1",
        method_name="review",
        message="Good?",
        method_output="draft",
        emit=["yes", "no"],
    )


@pytest.mark.parametrize("own", [None, ConsoleProvider(), Own(None)])
def test_a_review_pauses_the_flow_where_the_project_has_nobody_to_ask(own: Any) -> None:
    with calling(), pytest.raises(FlowPaused) as paused:
        Feedback(People(None, None), own).request_feedback(asked_for_review(), Noting())
    assert paused.value.payload == {"prompt": "Good?", "draft": "draft", "options": ["yes", "no"]}
    assert paused.value.record.body == "draft"


def test_a_review_is_answered_by_whom_the_run_asked_before_whom_the_project_asks() -> None:
    review = WaitingRecord("feedback", KEY, None, body="draft")
    people = People(review, HumanAnswer(approve=False))
    with calling():
        context, flow = asked_for_review(), Noting()
        assert Feedback(people, Own("by mail")).request_feedback(context, flow) == "no"
        nobody = People(None, None)
        assert Feedback(nobody, Own("by mail")).request_feedback(context, flow) == "by mail"
