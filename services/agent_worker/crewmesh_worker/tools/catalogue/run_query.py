"""The tool that answers a structured query, by the tool that the query is about."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from crewmesh_worker.messages.queries import QueryError, parse_query
from crewmesh_worker.tools.context import current_run
from crewmesh_worker.tools.registry import ToolError, load_tool

DESCRIPTION = (
    "Answers a structured query: a line such as `weather city=Lisbon days=3`, `time city=Tokyo`, "
    "`convert from=EUR to=USD amount=100` or `topic about=gRPC`. Says what is wrong with a query "
    "that it doesn't understand."
)
OUTSIDE = True


class Arguments(BaseModel):
    """What the model gives."""

    query: str = Field(
        min_length=1, max_length=500, description="The query, exactly as it was written."
    )


def run(arguments: Arguments) -> str:
    """Return JSON: query, tool, answer."""
    try:
        query = parse_query(arguments.query)
    except QueryError as error:
        raise ToolError(f"the query can't be understood: {error}") from error
    current_run().require_tool(query.tool)
    tool = load_tool(query.tool)
    try:
        given = tool.arguments.model_validate(query.arguments)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ToolError(
            f"the query can't be answered: {fault['input']!r}: {fault['msg']}"
        ) from error
    answer: Any = json.loads(tool.run(given))
    told = {"query": arguments.query.strip(), "tool": query.tool, "answer": answer}
    return json.dumps(told, ensure_ascii=False)
