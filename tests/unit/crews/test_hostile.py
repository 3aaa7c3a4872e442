"""Definitions that want more than data may: each is refused, with the place of each fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh.v1 import agent_pb2
from crewmesh_worker.crews.formats import read_definition

AGENT = {"role": "R", "goal": "G", "backstory": "B"}
TASK = {"name": "t", "description": "D.", "expected_output": "E.", "agent": "a"}
PYTHON = {"python": "os.system"}
OBJECT = {"type": "object", "properties": {"x": {"type": "string"}}}


def crew(*, agent: Any = None, task: Any = None, **body: Any) -> dict[str, Any]:
    """Return a definition in CrewAI's shape with these keys more."""
    return {
        "agents": {"a": {**AGENT, **(agent or {})}},
        "tasks": [{**TASK, **(task or {})}],
        **body,
    }


def output(**schema: Any) -> dict[str, Any]:
    return crew(task={"output_json": {**OBJECT, **schema}})


def faults_of(content: Any, format_: Any = agent_pb2.CREW_FORMAT_JSON) -> dict[str, str]:
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    with pytest.raises(InvalidInputError) as raised:
        read_definition(text.encode() if isinstance(text, str) else text, format_, "mine")
    assert raised.value.reason in ("INVALID_CREW", "INVALID_DOCUMENT")
    return {violation.field: violation.message for violation in raised.value.violations}


def test_the_definition_without_anything_more_is_taken() -> None:
    read_definition(json.dumps(crew()).encode(), agent_pb2.CREW_FORMAT_JSON, "mine")
    read_definition(json.dumps(output()).encode(), agent_pb2.CREW_FORMAT_JSON, "mine")


HOSTILE: list[tuple[dict[str, Any], str, str]] = [
    # Code.
    (crew(agent={"type": PYTHON}), "agents.a.type", "Python reference"),
    (crew(agent={"type": "CustomAgent"}), "agents.a.type", "can't be taken"),
    (crew(agent={"step_callback": PYTHON}), "agents.a.step_callback", "Python reference"),
    (crew(agent={"callbacks": [PYTHON]}), "agents.a.callbacks", "no code"),
    (crew(agent={"executor_class": PYTHON}), "agents.a.executor_class", "Python reference"),
    (crew(agent={"allow_code_execution": True}), "agents.a.allow_code_execution", "no code"),
    (crew(agent={"code_execution_mode": "unsafe"}), "agents.a.code_execution_mode", "no code"),
    (crew(agent={"guardrail": PYTHON}), "agents.a.guardrail", "Python reference"),
    (crew(agent={"settings": {"type": PYTHON}}), "agents.a.settings.type", "Python reference"),
    (crew(agent={"settings": {"config": {"x": 1}}}), "agents.a.settings.config", "one by one"),
    (crew(task={"callback": PYTHON}), "tasks[0].callback", "Python reference"),
    (crew(task={"condition": PYTHON}), "tasks[0].condition", "Python reference"),
    (crew(task={"type": "ConditionalTask"}), "tasks[0].type", "can't be taken"),
    (crew(task={"guardrail": PYTHON}), "tasks[0].guardrail", "Python reference"),
    (crew(task={"guardrails": [PYTHON]}), "tasks[0].guardrails[0]", "a Python reference"),
    (crew(task={"converter_cls": PYTHON}), "tasks[0].converter_cls", "Python reference"),
    (crew(task={"output_pydantic": PYTHON}), "tasks[0].output_pydantic", "Python reference"),
    (crew(task={"output_json": "models.Brief"}), "tasks[0].output_json", "JSON Schema"),
    (crew(task={"response_model": OBJECT}), "tasks[0].response_model", "output_json"),
    (crew(manager_agent=PYTHON), "manager_agent", "Python reference"),
    (crew(before_kickoff_callbacks=[PYTHON]), "before_kickoff_callbacks", "no code"),
    (crew(config={"agents": []}), "config", "one by one"),
    # Tools that aren't ours.
    (crew(agent={"tools": ["custom:evil"]}), "agents.a.tools[0]", "no tool is named"),
    (crew(agent={"tools": ["os:system"]}), "agents.a.tools[0]", "no tool is named"),
    (crew(agent={"tools": ["SerperDevTool"]}), "agents.a.tools[0]", "query_sql"),
    (crew(agent={"tools": [{"tool_type": "x.Y"}]}), "agents.a.tools[0]", "a text"),
    (crew(task={"tools": ["platform:gmail"]}), "tasks[0].tools[0]", "no tool is named"),
    (crew(agent={"tools": ["../../etc/passwd"]}), "agents.a.tools[0]", "no tool is named"),
    # Files.
    (crew(task={"output_file": "/etc/passwd"}), "tasks[0].output_file", "artifacts"),
    (crew(task={"input_files": {"x": "/etc/passwd"}}), "tasks[0].input_files", "dataset"),
    (crew(agent={"skills": ["/etc"]}), "agents.a.skills", "dataset"),
    (crew(agent={"knowledge_sources": ["/x"]}), "agents.a.knowledge_sources", "dataset"),
    (crew(prompt_file="/etc/passwd"), "prompt_file", "no files"),
    (crew(trained_agents_file="a.pkl"), "trained_agents_file", "no files"),
    (crew(output_log_file="/tmp/log"), "output_log_file", "no files"),
    # Other systems.
    (crew(agent={"mcps": ["https://example.com"]}), "agents.a.mcps", "mesh's tools"),
    (crew(agent={"mcps": [{"command": "sh"}]}), "agents.a.mcps", "mesh's tools"),
    (crew(agent={"a2a": {"endpoint": "x"}}), "agents.a.a2a", "mesh's tools"),
    (crew(agent={"apps": ["gmail"]}), "agents.a.apps", "mesh's tools"),
    (crew(agent={"from_repository": "x"}), "agents.a.from_repository", "mesh's tools"),
    (crew(agent={"base_url": "http://169.254.169.254"}), "agents.a.base_url", "mesh's tools"),
    (crew(agent={"api_key": "sk-1"}), "agents.a.api_key", "mesh's tools"),
    (crew(agent={"llm": {"model": "x", "base_url": "y"}}), "agents.a.llm", "model"),
    (crew(embedder={"provider": "ollama"}), "embedder", "dataset"),
    (crew(tracing=True), "tracing", "nothing leaves"),
    (crew(share_crew=True), "share_crew", "nothing leaves"),
    # Schemas.
    (output(**{"$ref": "https://example.com/x"}), "tasks[0].output_json", "own $defs"),
    (output(**{"$ref": "file:///etc/passwd"}), "tasks[0].output_json", "own $defs"),
    (output(**{"$ref": "#"}), "tasks[0].output_json", "own $defs"),
    (
        output(**{"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}),
        "tasks[0].output_json",
        "leads into itself",
    ),
    (
        output(
            properties={"x": {"$ref": "#/$defs/D9"}},
            **{
                "$defs": {
                    "D0": {"type": "string"},
                    **{
                        f"D{n}": {"anyOf": [{"$ref": f"#/$defs/D{n - 1}"}] * 10}
                        for n in range(1, 10)
                    },
                }
            },
        ),
        "tasks[0].output_json",
        "more than 1,000 parts",
    ),
    (
        output(properties={"x": {"type": "string", "pattern": "(a+)+$"}}),
        "tasks[0].output_json.properties.x.pattern",
        "not allowed",
    ),
    (
        output(properties={"x": {"type": "string", "format": "file-path"}}),
        "tasks[0].output_json.properties.x.format",
        "one of",
    ),
    (
        output(properties={"model_config": {"type": "object"}}),
        "tasks[0].output_json.properties.model_config",
        "letters",
    ),
    (
        output(properties={"__init__": {"type": "string"}}),
        "tasks[0].output_json.properties.__init__",
        "letters",
    ),
    (
        output(properties={"x": {"enum": [{"a": 1}]}}),
        "tasks[0].output_json.properties.x.enum",
        "a list of texts",
    ),
    (
        crew(inputs={"type": "object", "properties": {"x": {"$ref": "https://example.com"}}}),
        "inputs.properties.x.$ref",
        "not allowed",
    ),
    # Sizes.
    (crew(agent={"max_iter": 10**9}), "agents.a.max_iter", "less than or equal"),
    (crew(agent={"role": "x" * 201}), "agents.a.role", "at most 200"),
    (crew(task={"description": "x" * 20_001}), "tasks[0].description", "at most 20000"),
    (crew(task={"guardrail_max_retries": 10**6}), "tasks[0].guardrail_max_retries", "less than"),
    (
        {"agents": {f"a{n}": {**AGENT, "role": str(n)} for n in range(51)}, "tasks": [TASK]},
        "agents",
        "at most 50",
    ),
    ({"agents": {"a": AGENT}, "tasks": [TASK] * 101}, "tasks", "at most 100"),
    # Shapes that are none.
    ({"agents": ["researcher"], "tasks": [TASK]}, "agents[0]", "push the whole directory"),
    ({"agents": [{"x": 1, "y": 2}], "tasks": [TASK]}, "agents[0]", "`name`"),
    ({"agents": {}, "tasks": []}, "agents", "at least 1"),
    ({"agents": {"a": AGENT}}, "tasks", "it is needed"),
    ({"agents": {"a": [AGENT]}, "tasks": [TASK]}, "agents.a", "must be an object"),
    ({"agents": {"a.b": AGENT}, "tasks": [TASK]}, "agents.a.b", "letters"),
    ({"crew": []}, "crew", "must be an object"),
    ({"crew": {}, "name": "other"}, "name", "name both alike"),
    ({}, "(the whole)", "neither"),
    (crew(manager_agent="a", process="hierarchical"), "manager_agent", "no other agent"),
    (crew(task={"agent": None}), "tasks[0].agent", "names its agent"),
    (crew(task={"context": ["t"]}), "tasks[0].context[0]", "no task before"),
    (crew(inputs=["topic"]), "inputs", "default values"),
    (crew(memory={"storage": "/etc"}), "memory", "boolean"),
    (crew(invented=1), "invented", "keys of the reference"),
]


@pytest.mark.parametrize(
    ("document", "place", "message"), HOSTILE, ids=[f"{n}:{h[1]}" for n, h in enumerate(HOSTILE)]
)
def test_what_is_more_than_data_is_refused(
    document: dict[str, Any], place: str, message: str
) -> None:
    faults = faults_of(document)
    assert place in faults, faults
    assert message.lower() in faults[place].lower()


def test_all_faults_are_told_at_once() -> None:
    document = {
        "agents": {
            "a": {
                **AGENT,
                "llm": {"model": "x"},
                "tools": ["nothing"],
                "settings": {"max_iter": 0},
            },
            "b": {**AGENT, "mcps": ["x"], "goal": ""},
        },
        "tasks": {
            "first": {**TASK, "name": "first", "output_file": "x", "agent": "nobody"},
            "second": {"description": "D", "callback": PYTHON, "output_json": {"$ref": "x"}},
        },
        "process": "parallel",
        "memory": {"embedder": "x"},
    }
    assert faults_of(document).keys() == {
        "agents.a.llm",
        "agents.a.tools[0]",
        "agents.a.settings.max_iter",
        "agents.a.role",
        "agents.b.role",
        "agents.b.mcps",
        "agents.b.goal",
        "tasks.first.output_file",
        "tasks.first.agent",
        "tasks.second.callback",
        "tasks.second.output_json",
        "tasks.second.expected_output",
        "tasks.second.agent",
        "process",
        "memory",
    }


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"agents"',
        b"{",
        b"\xff\xfe{}",
        b'{"agents": {"a": NaN}, "tasks": []}',
        b'{"agents": {}, "agents": {}}',
        b'{"agents": {"a": {"role": "\\u0000"}}, "tasks": []}',
        b'{"agents": {"a": {"role": "\\ud800"}}, "tasks": []}',
        b'{"agents": {"a": {"max_iter": 1e999}}, "tasks": []}',
        b'{"agents": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"x": [' + b"1," * 20_001 + b"1]}",
        b" " * (256 * 1024) + b"{}",
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
)
def test_texts_that_are_no_definition_are_refused(text: bytes) -> None:
    assert faults_of(text)


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(8)
)


@pytest.mark.parametrize(
    "text",
    [
        b"agents: !!python/object/apply:os.system [id]",
        b"agents: !!python/name:os.system ''",
        b"!!python/module:os ''",
        b"agents: !!binary aGk=",
        b"agents: !!set {a, b}",
        b"agents: !custom x",
        b"a: 1\na: 2",
        b"a: &a [*a]",
        BOMB,
        b"a: &a " + b"x" * 200_000 + b"\nb: [*a, *a]",
        b"[" * 2000,
        b"? [a, b]\n: c",
        b"a: *nowhere",
        b"a: 1\n---\nb: 2",
        b"a: .nan",
        b'a: "\\0"',
        b"a: [1",
        b"%YAML 9.9\n---\na",
        b"<<: 1\na: 2",
        b"\x00",
    ],
)
def test_yaml_that_is_more_than_data_is_refused(text: bytes) -> None:
    assert faults_of(text, agent_pb2.CREW_FORMAT_YAML)
