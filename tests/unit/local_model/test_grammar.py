"""Grammars, judged by llama.cpp itself: one that it can't read ends the process that uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crewmesh_worker.crews.catalogue import BUILT_IN
from crewmesh_worker.crews.definition import load_definitions
from crewmesh_worker.local_model.files import find_weights
from crewmesh_worker.local_model.grammar import json_grammar, without_lengths
from crewmesh_worker.tools.registry import load_tool, tool_names

pytestmark = pytest.mark.long

SHAPES = [
    task.output_json or task.output_pydantic
    for definition in load_definitions(BUILT_IN).values()
    for task in definition.crew.tasks
    if task.output_json or task.output_pydantic
]


@pytest.fixture(scope="module")
def usable() -> Callable[[str], bool]:
    weights = find_weights(None)
    if weights is None:
        pytest.skip("`make local-model` installs it")
    import llama_cpp

    model = llama_cpp.Llama(str(weights), vocab_only=True, verbose=False)

    def takes(grammar: str) -> bool:
        sampler = llama_cpp.llama_sampler_init_grammar(
            model._model.vocab, grammar.encode(), b"root"
        )
        if sampler:
            llama_cpp.llama_sampler_free(sampler)
        return bool(sampler)

    return takes


@pytest.fixture(scope="module")
def any_object(usable: Callable[[str], bool]) -> str:
    return json_grammar({"type": "object"}, usable)


@pytest.mark.parametrize("name", sorted(tool_names()))
def test_every_tool_that_comes_with_it_has_a_grammar_of_its_own(
    name: str, usable: Callable[[str], bool], any_object: str
) -> None:
    schema = load_tool(name).arguments.model_json_schema()
    grammar = json_grammar(schema, usable)
    assert usable(grammar)
    assert grammar != any_object


@pytest.mark.parametrize("schema", SHAPES)
def test_so_has_every_result_of_a_crew_that_comes_with_it(
    schema: dict[str, Any], usable: Callable[[str], bool], any_object: str
) -> None:
    grammar = json_grammar(schema, usable)
    assert usable(grammar)
    assert grammar != any_object


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        deep(100),
        deep(500),
        {"type": "object", "properties": {"a": {"enum": [f"word {n}" for n in range(9_000)]}}},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
        {"type": "no such type"},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|b"}}},
    ],
)
def test_what_has_no_grammar_is_some_object(
    schema: dict[str, Any], usable: Callable[[str], bool], any_object: str
) -> None:
    assert json_grammar(schema, usable) == any_object


def test_a_grammar_that_is_not_usable_is_not_given() -> None:
    plain = {"type": "object", "properties": {"a": {"type": "integer"}}}
    refused = json_grammar(plain, lambda _: False)
    assert refused == json_grammar({"type": "object"}, lambda _: True)
    assert refused != json_grammar(plain, lambda _: True)


def test_lengths_are_left_out_and_properties_of_these_names_stay() -> None:
    schema = {
        "properties": {
            "maxLength": {"type": "string", "minLength": 1, "maxLength": 9},
            "b": {"type": "array", "minItems": 1, "maxItems": 10_000},
        },
        "enum": [{"maxLength": 1}],
    }
    assert without_lengths(schema) == {
        "properties": {"maxLength": {"type": "string"}, "b": {"type": "array", "minItems": 1}},
        "enum": [{"maxLength": 1}],
    }
