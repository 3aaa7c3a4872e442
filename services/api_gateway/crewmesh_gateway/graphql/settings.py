"""What of the gateway's settings concerns /graphql."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GraphqlLimits:
    """What a GraphQL query may ask for, and whether it may ask for the schema."""

    introspection: bool = True
    max_tokens: int = 1_000
    max_depth: int = 12
    max_cost: int = 100_000
