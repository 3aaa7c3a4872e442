"""How much a query may ask for, reckoned before any of it is done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.extensions import SchemaExtension

from crewmesh.common.errors import CrewmeshError
from crewmesh_gateway.graphql.context import Context

# What a list holds when the query doesn't say; as the fields' own defaults.
DEFAULT_LIMITS = {"crews": 50, "runs": 20, "events": 50, "artifacts": 10, "tasks": 10, "users": 50}
_MOST = 200


class RateLimit(SchemaExtension):
    """Refuses operations of who asks too often."""

    async def on_execute(self) -> AsyncIterator[None]:
        """Take a request, before any of it is done."""
        context: Context = self.execution_context.context
        try:
            await context.mesh.take_request()
        except CrewmeshError as error:
            raise GraphQLError(error.message, original_error=error) from None
        yield


class CostLimit(SchemaExtension):
    """Refuses a query that asks for more things than `max_cost`: a list's items, each with its own."""

    max_cost = 50_000

    def on_execute(self) -> Iterator[None]:
        """Reckon the cost of what was found to be valid, before any of it is done."""
        context = self.execution_context
        document = context.graphql_document
        definitions = document.definitions if document is not None else ()
        fragments = {
            node.name.value: node.selection_set
            for node in definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        for node in definitions:
            if isinstance(node, OperationDefinitionNode):
                variables = {**_defaults(node), **(context.variables or {})}
                cost = _cost(node.selection_set, fragments, variables)
                if cost > self.max_cost:
                    raise _too_much(cost, self.max_cost)
        yield


def _defaults(operation: OperationDefinitionNode) -> dict[str, int]:
    return {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
    }


def _too_much(cost: int, most: int) -> GraphQLError:
    return GraphQLError(
        f"the query asks for up to {cost:,} things, of {most:,} at most: ask for fewer (limit)",
        extensions={"code": "query_too_costly", "cost": cost, "max_cost": most},
    )


def _cost(
    selection: SelectionSetNode | None,
    fragments: Mapping[str, SelectionSetNode],
    variables: Mapping[str, Any],
) -> int:
    """Return how many things a selection may answer with; validation has refused cycles."""
    total = 0
    for node in selection.selections if selection is not None else ():
        if isinstance(node, FieldNode):
            inner = _cost(node.selection_set, fragments, variables)
            if node.selection_set is not None:
                total += _items(node, variables) * (1 + inner)
        elif isinstance(node, FragmentSpreadNode):
            total += _cost(fragments[node.name.value], fragments, variables)
        else:
            total += _cost(node.selection_set, fragments, variables)  # type: ignore[attr-defined]
    return total


def _items(node: FieldNode, variables: Mapping[str, Any]) -> int:
    for argument in node.arguments or ():
        if argument.name.value == "limit":
            if isinstance(argument.value, IntValueNode):
                return max(1, int(argument.value.value))
            if isinstance(argument.value, VariableNode):
                given = variables.get(argument.value.name.value, _MOST)
                return max(1, given) if isinstance(given, int) else _MOST
    return DEFAULT_LIMITS.get(node.name.value, 1)
