"""How much a query may ask for, reckoned before any of it is done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.extensions import SchemaExtension

from crewmesh.common.errors import CrewmeshError
from crewmesh_gateway.graphql.context import Context

# What a list holds when the query doesn't say; as the fields' own defaults.
DEFAULT_LIMITS = {
    "artifacts": 10,
    "crewVersions": 50,
    "crews": 50,
    "datasets": 50,
    "events": 50,
    "runs": 20,
    "sessions": 50,
    "tasks": 10,
    "users": 50,
}
_MOST = 200


class RateLimit(SchemaExtension):
    """Refuses operations of who asks too often."""

    async def on_validate(self) -> AsyncIterator[None]:
        """Take a request before the query is looked into, which is what takes time.

        Raised, the error would end a socket's operation without a word.
        """
        context: Context = self.execution_context.context
        try:
            await context.mesh.take_request()
        except CrewmeshError as error:
            refused = GraphQLError(error.message, original_error=error)
            self.execution_context.pre_execution_errors = [refused]
        yield


class SizeLimit(SchemaExtension):
    """Refuses a query that is too long, too deep, or asks for too many fields.

    How long it may be comes first: what follows takes time that grows with it, up to its square.
    """

    def __init__(self, *, max_tokens: int, max_depth: int, max_cost: int) -> None:
        self._max_tokens = max_tokens
        self._max_depth = max_depth
        self._max_cost = max_cost

    def on_operation(self) -> Iterator[None]:
        """Have the parser stop after so many tokens."""
        self.execution_context.parse_options["max_tokens"] = self._max_tokens
        yield

    def on_execute(self) -> Iterator[None]:
        """Measure what was found to be valid, before any of it is done."""
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
                self._check(_Ruler(fragments, variables).measure(node.selection_set))
        yield

    def _check(self, size: _Size) -> None:
        if size.depth > self._max_depth:
            raise GraphQLError(
                f"the query is {size.depth} levels deep, of {self._max_depth} at most",
                extensions={"code": "query_too_deep", "max_depth": self._max_depth},
            )
        if size.fields > self._max_cost:
            raise GraphQLError(
                f"the query asks for up to {size.fields:,} fields, of {self._max_cost:,} at most:"
                " ask for fewer (limit)",
                extensions={"code": "query_too_costly", "max_cost": self._max_cost},
            )


@dataclass(frozen=True)
class _Size:
    """How many fields a selection may answer with, and how many levels they have below them."""

    fields: int = 0
    depth: int = 0


class _Ruler:
    """Measures selections, and each fragment once, however often it is spread."""

    def __init__(
        self, fragments: Mapping[str, SelectionSetNode], variables: Mapping[str, Any]
    ) -> None:
        self._fragments = fragments
        self._variables = variables
        self._known: dict[str, _Size] = {}

    def measure(self, selection: SelectionSetNode | None) -> _Size:
        """Return the size of a selection; validation has refused fragments that spread themselves."""
        sizes = [self._size(node) for node in selection.selections] if selection else [_Size()]
        return _Size(sum(size.fields for size in sizes), max(size.depth for size in sizes))

    def _size(self, node: SelectionNode) -> _Size:
        if isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in self._known:
                self._known[name] = self.measure(self._fragments[name])
            return self._known[name]
        if isinstance(node, InlineFragmentNode):
            return self.measure(node.selection_set)
        assert isinstance(node, FieldNode)
        inner = self.measure(node.selection_set)
        # How deep the schema may be asked about is limited by the library.
        levels = node.selection_set is not None and not node.name.value.startswith("__")
        return _Size(
            _items(node, self._variables) * (1 + inner.fields), inner.depth + 1 if levels else 0
        )


def _defaults(operation: OperationDefinitionNode) -> dict[str, int]:
    return {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
    }


def _items(node: FieldNode, variables: Mapping[str, Any]) -> int:
    for argument in node.arguments or ():
        if argument.name.value == "limit":
            if isinstance(argument.value, IntValueNode):
                return max(1, int(argument.value.value))
            if isinstance(argument.value, VariableNode):
                given = variables.get(argument.value.name.value, _MOST)
                return max(1, given) if isinstance(given, int) else _MOST
    return DEFAULT_LIMITS.get(node.name.value, 1)
