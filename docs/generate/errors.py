"""Errors: every reason that the services give, found in their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from crewmesh.common import errors
from crewmesh_gateway.problems import _STATUS_BY_CODE

ROOT = Path(__file__).parents[2]
_SOURCES = ("core", "services")
_HEAD = """\
# Errors

Every error has a class, which decides the gRPC status and the HTTP status, and a reason that programs can rely on: over gRPC the `reason`
of `google.rpc.ErrorInfo`, over REST the member `code` (in lower case) of the problem details (RFC 9457). Messages are for people and may change. Where
repeating the call may help, `google.rpc.RetryInfo` or the header `Retry-After` says when.

## Classes

| class | gRPC | HTTP | reason, if no other | what |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """Return the page."""
    classes = [
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.CrewmeshError)
    ]
    rows = [
        f"| `{cls.__name__}` | `{cls.status}` | {_http(cls)} | `{cls.default_reason}` | "
        f"{(cls.__doc__ or '').strip().splitlines()[0]} |"
        for cls in classes
    ]
    reasons = sorted({(reason, name, message) for reason, name, message in _raised()})
    table = [
        f"| `{reason}` | {_http(getattr(errors, name))} | {message} |"
        for reason, name, message in reasons
    ]
    return (
        _HEAD
        + "\n".join(rows)
        + "\n\n## Reasons\n\nWhat stands for a value is in braces.\n\n"
        + "| reason | HTTP | says |\n| --- | --- | --- |\n"
        + "\n".join(table)
        + "\n"
    )


def _http(cls: type[errors.CrewmeshError]) -> int:
    return _STATUS_BY_CODE.get(cls("").code, 500)


def _raised() -> Iterator[tuple[str, str, str]]:
    """Yield the reason, the class and the message of each error that is made with a reason."""
    for source in _SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                known = getattr(errors, node.func.id, None)
                if not (isinstance(known, type) and issubclass(known, errors.CrewmeshError)):
                    continue
                for keyword in node.keywords:
                    if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value), node.func.id, _text(node.args)


def _text(arguments: list[ast.expr]) -> str:
    """Return a message as it stands in the source, without its quotes."""
    if not arguments:
        return ""
    (first, *_) = arguments
    if isinstance(first, ast.Constant):
        return str(first.value)
    if isinstance(first, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{...}" for part in first.values
        )
    return ""
