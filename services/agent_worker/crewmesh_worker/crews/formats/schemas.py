"""The schemas of a crew that somebody brought: of its inputs and of its tasks' outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crewmesh.common.errors import Violation
from crewmesh_worker.crews.checks import placeholders
from crewmesh_worker.crews.outputs import UnresolvableError, resolve_refs

_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}
OUTPUT_KEYS = ("output_json", "output_pydantic")


def is_schema(inputs: Mapping[str, Any]) -> bool:
    """Return whether `inputs` is a JSON Schema, and not the inputs' default values."""
    return inputs.get("type") == "object" and isinstance(inputs.get("properties"), Mapping)


def derived_schema(defaults: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of inputs with these default values, and of what the texts name.

    What a text names and has no default is a text that each run must give.
    """
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, value in defaults.items():
        if value is None:
            properties[name] = {"type": "string", "minLength": 1}
            required.append(name)
        else:
            properties[name] = {"type": _TYPES[type(value)], "default": value}
    for name in placeholders(body):
        if name not in properties:
            properties[name] = {"type": "string", "minLength": 1}
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def resolve_outputs(body: Mapping[str, Any]) -> tuple[dict[str, Any], list[Violation]]:
    """Return the crew with the `$ref`s of its tasks' outputs resolved, and those that can't be."""
    faults: list[Violation] = []
    tasks = body.get("tasks")
    if not isinstance(tasks, list):
        return dict(body), faults

    def resolved(task: Any, index: int) -> Any:
        if not isinstance(task, Mapping):
            return task
        changed = dict(task)
        for key, schema in _outputs(task):
            try:
                changed[key] = resolve_refs(schema)
            except UnresolvableError as error:
                faults.append(Violation(f"crew.tasks[{index}].{key}", str(error)))
                del changed[key]
        return changed

    return {**body, "tasks": [resolved(task, n) for n, task in enumerate(tasks)]}, faults


def _outputs(task: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key in OUTPUT_KEYS:
        if isinstance(schema := task.get(key), Mapping):
            yield key, schema
