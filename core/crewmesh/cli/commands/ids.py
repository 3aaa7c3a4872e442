"""What commands take to name a run."""

from __future__ import annotations

from typing import Annotated

import typer

from crewmesh.cli import completion
from crewmesh.cli.errors import UsageError

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id.", autocompletion=completion.runs)
]


def run_id(text: str) -> str:
    """Return the id of a run that a text names; raise UsageError for what isn't one."""
    from uuid import UUID

    try:
        return str(UUID(text))
    except ValueError:
        raise UsageError(
            f"{text!r} is no run's id", next_step="`crewmesh runs ls` lists runs with their ids"
        ) from None
