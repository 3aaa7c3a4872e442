"""A finished task's output as bytes, and back into a crew that goes on after it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from crewai import Crew, Task
from crewai.tasks.output_format import OutputFormat
from crewai.tasks.task_output import TaskOutput
from pydantic import ValidationError

from crewmesh.v1.run_store_pb2 import TaskCheckpoint
from crewmesh_worker.runner.human import ResumedTask

# The conversation and what was structured: the first is of no use later, the second
# would lose its class.
_LEFT_OUT = {"messages", "pydantic"}


def to_checkpoint(index: int, output: TaskOutput) -> TaskCheckpoint:
    """Return what a later attempt needs to take the task as done."""
    data: dict[str, Any] = {"output": output.model_dump(mode="json", exclude=_LEFT_OUT)}
    if output.pydantic is not None:
        data["pydantic"] = output.pydantic.model_dump(mode="json")
    return TaskCheckpoint(task_index=index, output=json.dumps(data).encode())


def resume(
    crew: Crew, checkpoints: Iterable[TaskCheckpoint], resumed: ResumedTask | None = None
) -> None:
    """Mark the first tasks as done, up to the first that isn't.

    A task whose draft a person has approved is done. The crew's next kickoff begins after
    them.
    """
    saved = {c.task_index: c.output for c in checkpoints if not c.waiting}
    for index, task in enumerate(crew.tasks):
        if index in saved:
            task.output = _task_output(task, json.loads(saved[index]))
        elif _is_approved(resumed, task):
            assert resumed is not None
            task.output = _approved_output(task, resumed.draft)
        else:
            break
        # CrewAI skips the leading tasks that have an output when this is set.
        crew.checkpoint_kickoff_event_id = "resume"


def _is_approved(resumed: ResumedTask | None, task: Task) -> bool:
    """Return whether the task's draft is its output; an approved call isn't a finished task."""
    return (
        resumed is not None and resumed.call is None and resumed.approved and task is resumed.task
    )


def _approved_output(task: Task, draft: str) -> TaskOutput:
    assert task.agent is not None
    return TaskOutput(
        **_structured(task, draft),
        name=task.name,
        description=task.description,
        expected_output=task.expected_output,
        raw=draft,
        agent=task.agent.role,
    )


def _structured(task: Task, draft: str) -> dict[str, Any]:
    """Return what the draft is as data, where the task's output is data."""
    model = task.output_pydantic or task.output_json
    if model is None:
        return {}
    try:
        data = model.model_validate_json(draft)
    except ValidationError:
        return {}  # as with a model that answers in prose
    if task.output_pydantic is not None:
        return {"pydantic": data, "output_format": OutputFormat.PYDANTIC}
    return {"json_dict": data.model_dump(), "output_format": OutputFormat.JSON}


def _task_output(task: Task, data: dict[str, Any]) -> TaskOutput:
    output = TaskOutput.model_validate(data["output"])
    if "pydantic" in data and task.output_pydantic is not None:
        output.pydantic = task.output_pydantic.model_validate(data["pydantic"])
    return output
