"""The shapes in which crews are brought, as ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crewmesh.v1 import agent_pb2
from crewmesh_worker.crews.definition import CrewDefinition, to_json, to_yaml
from crewmesh_worker.crews.formats import read_definition
from crewmesh_worker.crews.formats.reading import definition_of

AGENT = {"role": "R", "goal": "About {topic}", "backstory": "B"}
TASK = {"description": "D {depth}.", "expected_output": "E.", "agent": "a"}


def read(document: Any, name: str = "mine") -> CrewDefinition:
    return definition_of(document, name)


def test_the_classic_pair_as_one_document_is_named_by_its_keys() -> None:
    definition = read(
        {
            "agents": {"a": AGENT, "b": {**AGENT, "role": "S"}},
            "tasks": {"first": TASK, "second": {**TASK, "agent": "b", "context": ["first"]}},
        }
    )
    assert [(task.name, task.agent) for task in definition.crew.tasks] == [
        ("first", "a"),
        ("second", "b"),
    ]
    assert definition.crew.tasks[1].context == ["first"]


def test_unnamed_tasks_get_names_that_are_free() -> None:
    tasks = [{**TASK, "name": "task_2"}, TASK, {**TASK, "context": ["task_2"]}]
    definition = read({"agents": {"a": AGENT}, "tasks": tasks})
    assert [task.name for task in definition.crew.tasks] == ["task_2", "task_2_", "task_3"]


def test_inputs_come_from_default_values_and_from_what_the_texts_name() -> None:
    document = {
        "agents": {"a": AGENT},
        "tasks": [TASK],
        "inputs": {"depth": 2, "tags": ["x"], "share": 0.5, "on": True, "more": {}, "who": None},
    }
    assert read(document).inputs == {
        "type": "object",
        "properties": {
            "depth": {"type": "integer", "default": 2},
            "tags": {"type": "array", "default": ["x"]},
            "share": {"type": "number", "default": 0.5},
            "on": {"type": "boolean", "default": True},
            "more": {"type": "object", "default": {}},
            "who": {"type": "string", "minLength": 1},
            "topic": {"type": "string", "minLength": 1},
        },
        "required": ["who", "topic"],
        "additionalProperties": False,
    }


def test_inputs_may_be_a_schema_in_crewais_shape_too() -> None:
    schema = {
        "type": "object",
        "properties": {"topic": {"type": "string"}, "depth": {"type": "integer", "default": 1}},
        "required": ["topic"],
    }
    definition = read({"agents": {"a": AGENT}, "tasks": [TASK], "inputs": schema})
    assert definition.inputs == {**schema, "additionalProperties": False}


def test_our_shape_without_inputs_gets_them_from_its_texts() -> None:
    body = {"agents": {"a": AGENT}, "tasks": [{**TASK, "name": "t"}]}
    definition = read({"description": "x", "crew": body})
    assert definition.name == "mine"
    assert definition.inputs["required"] == ["topic", "depth"]


def test_a_crew_without_a_description_is_described_by_its_agents_and_tasks() -> None:
    definition = read({"agents": {"a": {**AGENT, "role": "The\nReader"}}, "tasks": {"read": TASK}})
    assert definition.description == "The Reader: read."


def test_what_only_says_that_something_is_off_is_nothing() -> None:
    off = {"memory": False, "tracing": None, "skills": [], "verbose": True, "stream": True}
    agent = {**AGENT, "llm": None, "mcps": [], "code_execution_mode": "safe", "type": "Agent"}
    task = {**TASK, "name": "t", "output_file": "", "create_directory": True, "tools": None}
    plain = read({"agents": {"a": AGENT}, "tasks": [{**TASK, "name": "t"}]})
    assert read({"agents": {"a": agent}, "tasks": [task], **off}) == plain


def test_what_ours_names_otherwise_is_taken_under_its_name() -> None:
    agent = {**AGENT, "settings": {"reasoning": True}}
    definition = read({"agents": {"a": agent}, "tasks": [TASK]})
    assert definition.crew.agents["a"].planning


def test_references_in_an_output_are_resolved_before_it_is_kept() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "p": {"$ref": "#/$defs/P", "description": "here"},
            "q": {"allOf": [{"$ref": "#/$defs/P"}]},
        },
        "$defs": {"P": {"type": "integer", "description": "there"}},
    }
    definition = read({"agents": {"a": AGENT}, "tasks": [{**TASK, "output_json": schema}]})
    assert definition.crew.tasks[0].output_json == {
        "type": "object",
        "properties": {
            "p": {"type": "integer", "description": "here"},
            "q": {"type": "integer", "description": "there"},
        },
    }


def test_the_same_crew_in_json_and_yaml_has_the_same_content() -> None:
    document = {"agents": {"a": AGENT}, "tasks": [TASK], "inputs": {"depth": 2}}
    from_json = read_definition(
        json.dumps(document, indent=1).encode(), agent_pb2.CREW_FORMAT_JSON, "mine"
    )
    yaml = (
        "# a comment\ninputs: {depth: 2}\ntasks:\n- {agent: a, expected_output: E., "
        "description: 'D {depth}.'}\nagents:\n  a: {backstory: B, role: R, goal: 'About {topic}'}\n"
    )
    from_yaml = read_definition(yaml.encode(), agent_pb2.CREW_FORMAT_YAML, "mine")
    assert to_json(from_json) == to_json(from_yaml)


@pytest.mark.parametrize("word", ["yes", "no", "on", "12:30", "2026-11-23", "0x10", "1_000"])
def test_plain_words_in_yaml_stay_words(word: str) -> None:
    text = f"agents: {{a: {{role: {word}, goal: g, backstory: b}}}}\ntasks: [{{agent: a, description: d, expected_output: e}}]"
    definition = read_definition(text.encode(), agent_pb2.CREW_FORMAT_YAML, "mine")
    assert definition.crew.agents["a"].role == word


def test_what_is_shown_as_yaml_can_be_put_again_and_is_the_same() -> None:
    document = {
        "agents": {"Ana María": {**AGENT, "backstory": "one\ntwo\n", "max_rpm": 5}},
        "tasks": [{**TASK, "agent": "Ana María", "human_input": True}],
    }
    definition = read(document)
    again = read_definition(to_yaml(definition).encode(), agent_pb2.CREW_FORMAT_YAML, "mine")
    assert again == definition
