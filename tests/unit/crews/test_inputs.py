"""A run's inputs against the crew's schema."""

from __future__ import annotations

from typing import Any

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh_worker.crews.definition import CrewDefinition, parse_definition
from crewmesh_worker.crews.inputs import dataset_inputs, validate_inputs


@pytest.fixture
def definition() -> CrewDefinition:
    return parse_definition(
        {
            "name": "inputs",
            "description": "Takes inputs.",
            "version": "1",
            "inputs": {
                "required": ["data", "topic"],
                "properties": {
                    "data": {"type": "string", "format": "dataset"},
                    "topic": {"type": "string", "minLength": 2},
                    "count": {"type": "integer", "default": 3, "maximum": 10},
                    "tags": {"type": "array", "items": {"type": "string"}, "default": []},
                    "day": {"type": "string", "format": "date"},
                },
            },
            "crew": {
                "agents": {"a": {"role": "r", "goal": "g", "backstory": "b"}},
                "tasks": [
                    {"name": "t", "agent": "a", "description": "{topic}", "expected_output": "x"}
                ],
            },
        }
    )


def faults_of(definition: CrewDefinition, inputs: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as raised:
        validate_inputs(definition, inputs)
    return {violation.field: violation.message for violation in raised.value.violations}


def test_defaults_are_filled_in(definition: CrewDefinition) -> None:
    given = {"data": "weather", "topic": "rain"}
    assert validate_inputs(definition, given) == {**given, "count": 3, "tags": []}
    assert given == {"data": "weather", "topic": "rain"}


def test_a_default_is_not_shared_between_runs(definition: CrewDefinition) -> None:
    given = {"data": "weather", "topic": "rain"}
    validate_inputs(definition, given)["tags"].append("mine")
    assert validate_inputs(definition, given)["tags"] == []


def test_what_is_given_wins_over_a_default(definition: CrewDefinition) -> None:
    assert validate_inputs(definition, {"data": "d", "topic": "rain", "count": 7})["count"] == 7


def test_every_fault_is_listed_with_its_place(definition: CrewDefinition) -> None:
    faults = faults_of(
        definition,
        {"topic": "x", "count": 11, "tags": ["a", 1], "day": "yesterday", "colour": "red"},
    )
    assert faults.keys() == {
        "inputs.data",
        "inputs.topic",
        "inputs.count",
        "inputs.tags[1]",
        "inputs.day",
        "inputs.colour",
    }
    assert faults["inputs.data"] == "required, and missing"
    assert "data, topic, count, tags, day" in faults["inputs.colour"]


def test_two_missing_inputs_are_two_faults(definition: CrewDefinition) -> None:
    assert faults_of(definition, {}).keys() == {"inputs.data", "inputs.topic"}


def test_dataset_inputs_are_those_of_that_format(definition: CrewDefinition) -> None:
    assert dataset_inputs(definition) == ["data"]
