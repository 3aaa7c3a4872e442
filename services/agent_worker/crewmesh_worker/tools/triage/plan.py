"""What is to be done about the messages: as a text that people approve and tools act on.

The text holds the plan as YAML. What is acted on is read from the very text that was
approved, so nothing else can be done.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crewmesh_worker.tools.registry import ToolError

_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)

Urgency = Literal["low", "normal", "high", "urgent"]


class Extracted(BaseModel):
    """The value of one field."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    value: str = Field(max_length=1_000)


class Action(BaseModel):
    """What is to be done about one message."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="The message's id.", min_length=1, max_length=200)
    category: str = Field(description="One of the run's categories.", max_length=100)
    urgency: Urgency = Field(description="urgent: harm is being done now, or a deadline is today.")
    fields: list[Extracted] = Field(
        default=[], description="The fields that were extracted; leave out what isn't said."
    )
    answer: str = Field(description="The drafted answer to the sender.", max_length=4_000)


class PlannedAction(BaseModel):
    """The same with where it goes, which follows from its category."""

    model_config = ConfigDict(extra="forbid")

    id: str
    category: str
    urgency: Urgency
    route: str
    fields: dict[str, str]
    answer: str

    @classmethod
    def of(cls, action: Action, route: str) -> PlannedAction:
        """Return what is planned for a message."""
        fields = {field.name: field.value for field in action.fields if field.value}
        return cls(**action.model_dump(exclude={"fields"}), fields=fields, route=route)


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actions: list[PlannedAction]


def write_plan(actions: list[PlannedAction], note: str) -> str:
    """Return the plan as a text for people."""
    data = _Plan(actions=actions).model_dump()
    block = yaml.dump(data, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=100)
    return f"{note}\n\n```yaml\n{block}```"


def read_plan(text: str) -> list[PlannedAction]:
    """Return the actions of a plan's text; raise ToolError if it holds no plan."""
    blocks = _BLOCK.findall(text)
    if len(blocks) != 1:
        raise ToolError("the approved text holds no plan: make one with plan_actions")
    try:
        return _Plan.model_validate(yaml.safe_load(blocks[0])).actions
    except (yaml.YAMLError, ValidationError) as error:
        raise ToolError(f"the approved plan can't be read: {error}") from error


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text and "```" not in text else None
    )


_Readable.add_representer(str, _text)
