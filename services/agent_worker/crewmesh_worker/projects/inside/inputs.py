"""The inputs of a project, as JSON Schema, and as a run gives them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from crewai import Crew
from pydantic import BaseModel

from crewmesh_worker.projects.inside.loading import Loaded

# What CrewAI takes for a placeholder: not {{this}}, and not the JSON in a prompt.
_PLACEHOLDER: Final = re.compile(r"(?<!{){([A-Za-z_][A-Za-z0-9_\-]*)}(?!})")
_AGENT_TEXTS: Final = ("role", "goal", "backstory")
_TASK_TEXTS: Final = ("description", "expected_output", "output_file")
_KEPT_KEYWORDS: Final = ("type", "title", "description", "default", "enum", "minimum", "maximum")
_TRIGGER: Final = "crewai_trigger_payload"


def inputs_schema(loaded: Loaded) -> dict[str, Any]:
    """Return the JSON Schema of what a run of it takes."""
    if loaded.is_flow:
        return _flow_schema(loaded.target)
    return _crew_schema(loaded)


def complete_inputs(loaded: Loaded, given: dict[str, Any]) -> dict[str, Any]:
    """Return the run's inputs with what the project would start itself with."""
    inputs = {**loaded.defaults, **given}
    for name in loaded.computed:
        if name not in inputs:
            inputs[name] = loaded.compute(name)
    return inputs


def _crew_schema(loaded: Loaded) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for name in dict.fromkeys([*placeholders(loaded.target), *loaded.defaults]):
        properties[name] = {"title": name.replace("_", " ").capitalize()}
        if name in loaded.defaults and _is_json(loaded.defaults[name]):
            properties[name]["default"] = loaded.defaults[name]
        elif _can_compute(loaded, name):
            expression = loaded.computed[name]
            properties[name]["description"] = f"Where it is left out, the project says {expression}"
        else:
            required.append(name)
    # A crew's own code may read more than its texts name.
    return {"properties": properties, "required": required, "additionalProperties": {}}


def placeholders(crew: Crew) -> list[str]:
    """Return the names in braces in the texts of the crew, in their order."""
    return list(dict.fromkeys(n for text in _texts(crew) for n in _PLACEHOLDER.findall(text)))


def _texts(crew: Crew) -> Iterator[str]:
    parts: Iterable[tuple[Any, tuple[str, ...]]] = [
        *((agent, _AGENT_TEXTS) for agent in crew.agents),
        *((task, _TASK_TEXTS) for task in crew.tasks),
    ]
    for part, names in parts:
        yield from (text for name in names if isinstance(text := getattr(part, name, None), str))


def _can_compute(loaded: Loaded, name: str) -> bool:
    if name not in loaded.computed:
        return False
    with contextlib.suppress(Exception):
        return _is_json(loaded.compute(name))
    return False


def _flow_schema(flow: Any) -> dict[str, Any]:
    state = flow._state
    properties: dict[str, Any] = {}
    required: list[str] = []
    if isinstance(state, BaseModel):
        schema = type(state).model_json_schema()
        properties = {n: _simple(p) for n, p in schema["properties"].items() if n != "id"}
        required = [name for name in schema.get("required", ()) if name != "id"]
    elif isinstance(state, dict):
        given = {n: v for n, v in state.items() if n != "id" and _is_json(v)}
        properties = {name: {"default": value} for name, value in given.items()}
    properties[_TRIGGER] = {"description": "What has triggered the flow, for flows that take it."}
    return {
        "properties": properties,
        "required": required,
        "additionalProperties": {} if isinstance(state, dict) else False,
    }


def _simple(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what of a field's schema says something by itself; the state checks the rest."""
    return {keyword: schema[keyword] for keyword in _KEPT_KEYWORDS if keyword in schema}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
