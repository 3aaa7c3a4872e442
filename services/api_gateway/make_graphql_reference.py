"""Print the schema of GraphQL into its reference: `make graphql-reference`."""

from __future__ import annotations

from pathlib import Path

from crewmesh_gateway.graphql.schema import create_schema
from crewmesh_gateway.graphql.settings import GraphqlLimits

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "graphql.md"
MARK = "<!-- From here on made by `make graphql-reference`. -->\n"


def reference() -> str:
    """Return the schema as Markdown."""
    return f"```graphql\n{create_schema(GraphqlLimits()).as_str()}\n```\n"


if __name__ == "__main__":
    head = PAGE.read_text("utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + reference(), "utf-8")
