"""The tool that makes the plan of a triage, and decides whether a person must approve it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from crewmesh_worker.runner import approvals
from crewmesh_worker.runner.text import MAX_CHARACTERS
from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.tools.triage.messages import read_messages
from crewmesh_worker.tools.triage.plan import Action, PlannedAction, write_plan

DESCRIPTION = (
    "Makes the plan of what is to be done about the messages: one action for each, with its category, "
    "urgency, extracted fields and drafted answer. Its route follows from its category. The plan is "
    "shown to a person where the run asks for approval; only what it says can be done afterwards."
)
# What it returns is the task's answer, word for word.
RESULT_AS_ANSWER = True


class Arguments(BaseModel):
    """What the model gives."""

    actions: list[Action] = Field(description="One for each message that something is done about.")


def run(arguments: Arguments) -> str:
    """Return the plan as Markdown with a YAML block."""
    inputs = current_run().inputs
    routes = inputs.get("routes", {})
    _require_sound(arguments, routes, inputs.get("fields", {}))
    actions = [PlannedAction.of(action, routes[action.category]) for action in arguments.actions]
    reason = _why_not(inputs.get("approval", "always"), actions)
    text = write_plan(actions, _note(actions, reason))
    if reason:
        approvals.waive(text)
    elif len(text) > MAX_CHARACTERS:
        raise ToolError(
            f"the plan has {len(text)} characters, more than a person is shown ({MAX_CHARACTERS}): "
            "shorten the answers. If that isn't enough, the run must be given fewer messages"
        )
    return text


def _require_sound(arguments: Arguments, routes: dict[str, str], fields: dict[str, str]) -> None:
    known = [message.id for message in read_messages(current_run())]
    faults = []
    planned: set[str] = set()
    for action in arguments.actions:
        if action.id not in known:
            faults.append(f"there is no message {action.id!r}; there are: {', '.join(known)}")
        if action.id in planned:
            faults.append(f"{action.id} has two actions")
        planned.add(action.id)
        if action.category not in routes:
            faults.append(
                f"{action.id}: no category is named {action.category!r}; there are: "
                f"{', '.join(routes)}"
            )
        if unknown := [field.name for field in action.fields if field.name not in fields]:
            faults.append(f"{action.id}: these are no fields of this run: {', '.join(unknown)}")
    if faults:
        raise ToolError("the plan has faults: " + "; ".join(faults))


def _why_not(approval: str, actions: list[PlannedAction]) -> str:
    """Return why nobody needs to approve; "" where somebody must."""
    if approval == "never":
        return "this run asks for no approval"
    if approval == "when_urgent" and not any(action.urgency == "urgent" for action in actions):
        return "approval is asked for urgent messages only, and none is"
    return ""


def _note(actions: list[PlannedAction], reason: str) -> str:
    urgent = sum(action.urgency == "urgent" for action in actions)
    counted = "1 action" if len(actions) == 1 else f"{len(actions)} actions"
    approval = f"Not shown to a person: {reason}." if reason else "It waits for approval."
    return f"Plan of {counted}, {urgent} of them urgent. {approval}"
