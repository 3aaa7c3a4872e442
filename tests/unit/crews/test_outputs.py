"""Schemas of tasks' outputs: what a crew can't hold is refused where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from crewmesh_worker.crews.outputs import UnresolvableError, output_faults, resolve_refs


def with_property(schema: object) -> dict[str, Any]:
    return {"type": "object", "properties": {"p": schema}}


@pytest.mark.parametrize(
    ("schema", "where", "why"),
    [
        ({"type": "string"}, "", "an output is an object"),
        ({"type": "object", "properties": {}}, "", "an output is an object"),
        ({**with_property({}), "x": "a" * 70_000}, "", "longer than"),
        (with_property("text"), ".properties.p", "a schema is an object"),
        (with_property({"pattern": "a*"}), ".properties.p.pattern", "not allowed here"),
        (with_property({"type": "text"}), ".properties.p.type", "one of array"),
        (with_property({"type": ["string", "nil"]}), ".properties.p.type", "one of array"),
        (with_property({"format": "email"}), ".properties.p.format", "one of date"),
        (with_property({"items": 3}), ".properties.p.items", "a schema is an object"),
        (with_property({"anyOf": []}), ".properties.p.anyOf", "a list of schemas"),
        (with_property({"anyOf": {"type": "null"}}), ".properties.p.anyOf", "a list of schemas"),
        (with_property({"anyOf": [{}, 1]}), ".properties.p.anyOf[1]", "a schema is an object"),
        (with_property({"enum": []}), ".properties.p.enum", "a list of texts"),
        (with_property({"enum": "red"}), ".properties.p.enum", "a list of texts"),
        (with_property({"enum": [["red"]]}), ".properties.p.enum", "a list of texts"),
        (with_property({"const": {}}), ".properties.p.const", "a text, a number"),
        (
            with_property({"additionalProperties": {}}),
            ".properties.p.additionalProperties",
            "true or false",
        ),
        (with_property({"title": 1}), ".properties.p.title", "a text"),
        (with_property({"minLength": True}), ".properties.p.minLength", "a number"),
        (with_property({"maximum": "9"}), ".properties.p.maximum", "a number"),
        ({"type": "object", "properties": ["p"]}, ".properties", "an object of schemas"),
        (
            {"type": "object", "properties": {"model_id": {}}},
            ".properties.model_id",
            "a property's name",
        ),
        ({**with_property({}), "required": "p"}, ".required", "a list of properties' names"),
        ({**with_property({}), "required": ["q"]}, ".required", "'q' is none of the properties"),
    ],
)
def test_a_schema_that_no_output_can_have_is_refused(schema: object, where: str, why: str) -> None:
    (fault,) = output_faults(schema, "output")
    assert fault.field == f"output{where}"
    assert why in fault.message


def test_all_that_an_output_can_have_is_taken() -> None:
    parts = {
        "when": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"enum": ["a", 1, None]}, "maxItems": 3},
        "price": {"anyOf": [{"type": "number", "minimum": 0.5}, {"type": "null"}]},
    }
    schema = {"type": "object", "properties": parts, "required": ["when"], "title": "Order"}
    assert output_faults(schema, "output") == []


def test_references_are_written_out() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {
            "first": {"$ref": "#/$defs/Item", "description": "The first one."},
            "others": {"items": {"allOf": [{"$ref": "#/definitions/Many"}], "title": "Others"}},
        },
        "$defs": {"Item": {"type": "string"}},
        "definitions": {"Many": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
    }
    assert resolve_refs(schema) == {
        "properties": {
            "first": {"type": "string", "description": "The first one."},
            "others": {"items": {"type": "array", "items": {"type": "string"}, "title": "Others"}},
        }
    }


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("#/$defs/Missing", "none of the schema's own"),
        ("https://example.com/schema.json", "none of the schema's own"),
        ("#/$defs/Text", "none of the schema's own"),
        ("#/$defs/Loop", "leads into itself"),
        ("#/$defs/Wide3", "more than 1,000 parts"),
    ],
)
def test_references_that_lead_nowhere_or_never_end_are_refused(ref: str, why: str) -> None:
    wide = {
        f"Wide{n}": {"anyOf": [{"$ref": f"#/$defs/Wide{n - 1}"}] * 20} if n else {}
        for n in range(4)
    }
    definitions = {"Text": "no schema", "Loop": {"items": {"$ref": "#/$defs/Loop"}}, **wide}
    with pytest.raises(UnresolvableError, match=why):
        resolve_refs({"properties": {"p": {"$ref": ref}}, "$defs": definitions})
