"""A run that is answered by keyword, before any agent or model is made.

It looks like any other run: its last task starts and completes, by no agent.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from crewai import CrewOutput

from crewmesh_worker.crews.model import RepliesDefinition
from crewmesh_worker.crews.replies import find_reply
from crewmesh_worker.runner.stream import EventStream
from crewmesh_worker.runner.text import put_text


def reply_at_once(
    definition: dict[str, Any], inputs: dict[str, Any], stream: EventStream
) -> CrewOutput | None:
    """Return the crew's output, with its events sent; None where agents must answer.

    `definition` is plain data, of any builder's.
    """
    if not (given := definition.get("replies")):
        return None
    replies = RepliesDefinition.model_validate(given)
    answer = find_reply(replies, inputs, dt.datetime.now(dt.UTC))
    if answer is None:
        return None
    tasks = definition["crew"]["tasks"]
    place = {"index": len(tasks) - 1}
    name = tasks[-1]["name"]
    description = "Answered by keyword."
    stream.event(
        "task.started", name, "", {**place, "total": len(tasks), "description": description}
    )
    stream.event(
        "task.completed", name, "", put_text({**place, "duration_ms": 0}, "output", answer)
    )
    return CrewOutput(raw=answer)
