"""The reference of GraphQL has the schema that is served."""

from __future__ import annotations

from services.api_gateway.make_graphql_reference import MARK, PAGE, reference


def test_the_page_has_the_schema() -> None:
    told = PAGE.read_text("utf-8").partition(MARK)[2].lstrip()
    assert told == reference(), "run `make graphql-reference`"
