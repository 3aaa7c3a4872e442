"""The tool that checks an answer against the pages that it cites."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field

from crewmesh_worker.tools.citations import body_of, citation_faults, cited_numbers
from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Checks an answer before it is given: that each citation such as [2] is the number of a page "
    "that fetch_pages has read, and that the numbers in a sentence are on the pages it cites. "
    "Lists what is wrong."
)


class Arguments(BaseModel):
    """What the model gives."""

    answer: str = Field(
        min_length=1, max_length=50_000, description="The whole answer, in Markdown."
    )


def run(arguments: Arguments) -> str:
    """Return JSON: cited, the pages' numbers; raise ToolError with every fault."""
    pages = current_run().pages
    if not pages:
        raise ToolError("no page has been read yet: use fetch_pages first")
    if faults := citation_faults(arguments.answer, pages):
        raise ToolError("the answer can't be given so. " + "; ".join(faults))
    return json.dumps({"cited": cited_numbers(body_of(arguments.answer))})
