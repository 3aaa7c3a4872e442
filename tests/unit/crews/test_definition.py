"""A crew's definition: read, checked, and written for the wire."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crewmesh.common.documents import read_yaml
from crewmesh.common.errors import InvalidInputError
from crewmesh.v1 import crew_pb2
from crewmesh_worker import crews
from crewmesh_worker.crews.definition import (
    CrewDefinition,
    from_json,
    load_definitions,
    parse_definition,
    to_json,
    to_yaml,
)
from crewmesh_worker.crews.messages import crew_message
from crewmesh_worker.crews.sources import CrewVersion

BUILT_IN = Path(crews.__file__).parent

DATA: dict[str, Any] = {
    "name": "pair",
    "description": "Two agents.",
    "version": "1.2.0",
    "inputs": {
        "properties": {"topic": {"type": "string"}, "depth": {"type": "integer", "default": 2}},
        "required": ["topic"],
    },
    "crew": {
        "agents": {
            "reader": {
                "role": "Reader of {topic}",
                "goal": "Read",
                "backstory": "-",
                "tools": ["query_sql"],
            },
            "writer": {"role": "Writer", "goal": "Write", "backstory": "-"},
        },
        "tasks": [
            {
                "name": "read",
                "agent": "reader",
                "description": "Read about {topic}.",
                "expected_output": "{depth} notes.",
            },
            {
                "name": "write",
                "agent": "writer",
                "description": "Write.",
                "expected_output": "A text.",
                "context": ["read"],
            },
        ],
    },
}


def faults_of(data: object) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as raised:
        parse_definition(data)
    assert raised.value.reason == "INVALID_CREW"
    return {violation.field: violation.message for violation in raised.value.violations}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the valid definition with one place changed: "crew.tasks.0.agent"."""
    data: Any = copy.deepcopy(DATA)
    *parents, last = path.split(".")
    place = data
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[int(last) if isinstance(place, list) else last] = value
    return data  # type: ignore[no-any-return]


def test_a_valid_definition_is_taken_whole() -> None:
    definition = parse_definition(DATA)
    assert definition.crew.agents["reader"].tools == ["query_sql"]
    assert [task.name for task in definition.crew.tasks] == ["read", "write"]
    assert definition.crew.process == "sequential"


def test_a_definition_survives_the_wire_unchanged() -> None:
    definition = parse_definition(DATA)
    assert from_json(to_json(definition)) == definition
    assert CrewDefinition.model_validate(json.loads(to_json(definition))) == definition


def test_clients_see_roles_and_the_closed_inputs_schema() -> None:
    definition = parse_definition(DATA)
    version = CrewVersion(definition, "7", crew_pb2.CREW_SOURCE_UPLOADED, None, "8")
    crew = crew_message(version)
    assert (crew.name, crew.version, crew.current_version) == ("pair", "7", "8")
    assert crew.definition_json == ""
    assert from_json(crew_message(version, whole=True).definition_json) == definition
    assert [agent.role for agent in crew.agents] == ["Reader of {topic}", "Writer"]
    assert [task.agent for task in crew.tasks] == ["Reader of {topic}", "Writer"]
    schema = json.loads(crew.inputs_schema_json)
    assert schema["additionalProperties"] is False
    assert schema["type"] == "object"


def test_every_crew_that_comes_with_the_worker_is_valid() -> None:
    definitions = load_definitions(BUILT_IN)
    assert {"hello", "data-analyst"} <= definitions.keys()


def test_every_fault_is_listed_with_its_place() -> None:
    data = copy.deepcopy(DATA)
    data["name"] = "Not A Name"
    data["crew"]["agents"]["writer"]["tools"] = ["query_sql", "rm_rf"]
    data["crew"]["tasks"][1]["context"] = ["nowhere"]
    data["crew"]["tasks"][1]["agent"] = "nobody"
    del data["crew"]["tasks"][0]["expected_output"]
    faults = faults_of(data)
    assert faults.keys() == {
        "name",
        "crew.agents.writer.tools[1]",
        "crew.tasks[0].expected_output",
        "crew.tasks[1].agent",
        "crew.tasks[1].context[0]",
    }
    assert "query_sql" in faults["crew.agents.writer.tools[1]"]
    assert "reader, writer" in faults["crew.tasks[1].agent"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("crew.agents.reader.llm", "openai/gpt-4o"),
        ("crew.agents.reader.type", {"python": "os.system"}),
        ("crew.agents.reader.mcps", ["https://example.com/mcp"]),
        ("crew.agents.reader.settings", {"llm": "openai/gpt-4o"}),
        ("crew.agents.reader.from_repository", "somebody"),
        ("crew.agents.reader.knowledge_sources", ["/etc/passwd"]),
        ("crew.agents.reader.skills", ["/etc"]),
        ("crew.agents.reader.max_execution_time", 1),
        ("crew.tasks.0.output_file", "/etc/passwd"),
        ("crew.tasks.0.callback", {"python": "os.system"}),
        ("crew.tasks.0.condition", {"python": "os.system"}),
        ("crew.tasks.0.config", {"output_file": "/etc/passwd"}),
        ("crew.manager_llm", "openai/gpt-4o"),
        ("crew.output_log_file", "/tmp/log"),
        ("crew.prompt_file", "/etc/passwd"),
        ("crew.trained_agents_file", "/tmp/agents.pkl"),
        ("crew.embedder", {"provider": "ollama"}),
        ("flow", {}),
    ],
)
def test_what_could_import_code_read_paths_or_reach_hosts_is_refused(path: str, value: Any) -> None:
    faults = faults_of(changed(path, value))
    assert len(faults) == 1
    assert "no such key" in next(iter(faults.values()))


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("version", "", "version"),
        ("version", 1, "version"),
        ("crew.agents", {}, "crew.agents"),
        ("crew.tasks", [], "crew.tasks"),
        ("crew.process", "parallel", "crew.process"),
        ("crew.agents.reader.max_iter", 0, "crew.agents.reader.max_iter"),
        ("crew.agents.reader.role", "", "crew.agents.reader.role"),
        ("crew.agents.writer.role", "Reader of {topic}", "crew.agents.writer.role"),
        ("crew.agents.reader.tools", "query_sql", "crew.agents.reader.tools"),
        ("crew.tasks.1.name", "read", "crew.tasks[1].name"),
        ("crew.tasks.0.context", ["write"], "crew.tasks[0].context[0]"),
        ("crew.tasks.0.description", "About {nothing}.", "crew.tasks[0].description"),
        ("crew.tasks.0", "read", "crew.tasks[0]"),
        ("crew.tasks.0.tools", ["rm_rf"], "crew.tasks[0].tools[0]"),
        ("crew.tasks.0.agent", None, "crew.tasks[0].agent"),
        ("crew.tasks.0.output_json", {"type": "array"}, "crew.tasks[0].output_json"),
        ("crew.tasks.0.output_pydantic", "Brief", "crew.tasks[0].output_pydantic"),
        ("crew.tasks.0.guardrail", {"python": "os.system"}, "crew.tasks[0].guardrail"),
        ("crew.manager_agent", {"python": "os.system"}, "crew.manager_agent"),
        ("crew.manager_agent", "writer", "crew.manager_agent"),
        (
            "crew.agents.reader.planning_config",
            {"llm": "x"},
            "crew.agents.reader.planning_config.llm",
        ),
        ("crew.max_rpm", 0, "crew.max_rpm"),
        ("inputs.type", "array", "inputs.type"),
        ("inputs.required", ["other"], "inputs.required"),
        ("inputs.properties.topic", True, "inputs.properties.topic"),
        ("inputs.properties.topic.type", "text", "inputs.properties.topic.type"),
        ("inputs.properties.topic.pattern", "(a+)+$", "inputs.properties.topic.pattern"),
        ("inputs.properties.topic.$ref", "https://example.com", "inputs.properties.topic.$ref"),
        ("inputs.properties.depth.default", "two", "inputs.properties.depth.default"),
        ("inputs.properties.depth", {"type": "integer"}, "crew.tasks[0].expected_output"),
    ],
)
def test_a_fault_is_named_by_its_place(path: str, value: Any, place: str) -> None:
    assert place in faults_of(changed(path, value))


@pytest.mark.parametrize("data", [None, [], "crew", {}, {"crew": []}, {"crew": {"agents": [1]}}])
def test_what_is_no_definition_at_all_gets_faults_and_no_crash(data: object) -> None:
    assert faults_of(data)


def test_two_asynchronous_tasks_of_one_agent_are_refused() -> None:
    data = copy.deepcopy(DATA)
    last = data["crew"]["tasks"][1]
    data["crew"]["tasks"] = [
        {**last, "name": name, "agent": agent, "context": [], "async_execution": asynchronous}
        for name, agent, asynchronous in [
            ("first", "reader", True),
            ("second", "reader", True),
            ("third", "writer", False),
        ]
    ]
    assert "another agent" in faults_of(data)["crew.tasks[1].async_execution"]
    data["crew"]["tasks"][1]["agent"] = "writer"
    parse_definition(data)


def test_a_crew_ends_with_at_most_one_asynchronous_task() -> None:
    data = copy.deepcopy(DATA)
    for task in data["crew"]["tasks"]:
        task["async_execution"] = True
    faults = faults_of(data)
    assert "at the end" in faults["crew.tasks"]
    assert "beside" in faults["crew.tasks[1].async_execution"]


def test_a_file_at_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"broken\.yaml: .*not YAML"):
        load_definitions(tmp_path)
    (tmp_path / "broken.yaml").write_text("name: broken", encoding="utf-8")
    with pytest.raises(
        InvalidInputError, match=r"broken\.yaml: .*crew: it is needed, and not there"
    ) as raised:
        load_definitions(tmp_path)
    assert "crew" in {violation.field for violation in raised.value.violations}


def test_a_file_is_named_like_its_crew(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(json.dumps(DATA), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="name both alike"):
        load_definitions(tmp_path)


def test_a_file_has_a_version(tmp_path: Path) -> None:
    data = {key: value for key, value in DATA.items() if key != "version"}
    (tmp_path / "pair.yaml").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"pair\.yaml: give the crew a version"):
        load_definitions(tmp_path)


def test_what_is_written_as_yaml_is_read_as_the_same() -> None:
    for definition in [parse_definition(DATA), *load_definitions(BUILT_IN).values()]:
        assert parse_definition(read_yaml(to_yaml(definition))) == definition


def test_text_that_is_no_json_is_refused_as_such() -> None:
    with pytest.raises(InvalidInputError, match="not JSON"):
        from_json("{")


def test_reading_definitions_loads_neither_crewai_nor_a_tool() -> None:
    code = (
        "import sys, crewmesh_worker.crews.definition as d, crewmesh_worker.crews as c, pathlib\n"
        "d.load_definitions(pathlib.Path(c.__file__).parent)\n"
        "print(sorted({'crewai', 'duckdb', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_conversations_inputs_are_strings_and_each_is_there_once() -> None:
    message = {"type": "string", "format": "session-message"}
    history = {"type": "string", "format": "session-history", "default": ""}
    properties = {"topic": {"type": "string"}, "depth": {"type": "integer", "default": 2}}
    good = changed("inputs.properties", {**properties, "said": message, "before": history})
    definition = parse_definition(good)
    assert (definition.message_input, definition.history_input) == ("said", "before")
    assert parse_definition(DATA).message_input is None
    bad = {
        **properties,
        "one": message,
        "two": {**message, "type": "integer"},
        "before": {"type": "string", "format": "session-history"},
    }
    assert set(faults_of(changed("inputs.properties", bad))) == {
        "inputs.properties.two.type",
        "inputs.properties.two.format",
        "inputs.properties.before.default",
    }
