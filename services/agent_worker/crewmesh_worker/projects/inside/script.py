"""What a project's start function says, read as text: it is never called."""

from __future__ import annotations

import ast
from typing import Any


def called_names(source: str, function: str) -> set[str]:
    """Return every name that the module's function of that name mentions."""
    body = _function(source, function)
    return {node.id for node in ast.walk(body) if isinstance(node, ast.Name)} if body else set()


def literal_inputs(source: str, function: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the inputs that the function starts its crew with: values, and expressions.

    They are the dict that is given as `inputs`, as a variable or in place. An expression is
    whatever isn't a literal, such as `str(datetime.now().year)`.
    """
    body = _function(source, function)
    given = _inputs_dict(body) if body is not None else None
    values: dict[str, Any] = {}
    expressions: dict[str, str] = {}
    for key, value in zip(given.keys, given.values, strict=True) if given is not None else ():
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            continue
        try:
            values[key.value] = ast.literal_eval(value)
        except ValueError:
            expressions[key.value] = ast.unparse(value)
    return values, expressions


def _function(source: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    return None


def _inputs_dict(body: ast.AST) -> ast.Dict | None:
    assigned: dict[str, ast.Dict] = {}
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            assigned.update({t.id: node.value for t in node.targets if isinstance(t, ast.Name)})
    for node in ast.walk(body):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg != "inputs":
                continue
            if isinstance(keyword.value, ast.Dict):
                return keyword.value
            if isinstance(keyword.value, ast.Name):
                return assigned.get(keyword.value.id)
    return None
