"""Which calls are sent again by themselves, and that every call has a deadline."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from crewmesh.common.grpc_client import repeatable_methods

ROOT = Path(__file__).parents[3]
# Streams that live as long as their reader. A peer that is gone is found by keepalive.
_ENDLESS = {"AttachWorker", "WatchRun"}
# It changes what a call of somebody else's says, its deadline excepted.
_INTERCEPTOR = "_replace"


def test_what_starts_or_makes_something_new_is_never_sent_twice() -> None:
    repeatable = {method["method"] for method in repeatable_methods()}
    assert {"GetRun", "WatchRun", "AppendEvents", "RenewLeases", "CancelRun"} <= repeatable
    once = ("Create", "Start", "Run", "Retry", "Post", "Claim", "Respond", "Sign", "Delete")
    assert [name for name in repeatable if name.startswith(once)] == []
    assert not repeatable & {"RefreshTokens", "CountRequests", "AttachWorker", "PutDataset"}


def test_every_call_of_the_mesh_has_a_deadline() -> None:
    calls = [
        (path, call)
        for part in ("core", "services")
        for path in sorted((ROOT / part).rglob("*.py"))
        for call in _calls(path)
    ]
    assert len(calls) > 20
    places = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path, call in calls
        if not any(keyword.arg == "timeout" for keyword in call.keywords)
    ]
    assert places == []


def _calls(path: Path) -> Iterator[ast.Call]:
    """Yield the calls over gRPC in a file: all of them say who calls, in signed `metadata`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and any(
                keyword.arg == "metadata" and _signed(keyword.value) for keyword in node.keywords
            )
            and not (
                isinstance(node.func, ast.Attribute) and node.func.attr in {*_ENDLESS, _INTERCEPTOR}
            )
        ):
            yield node


def _signed(value: ast.expr) -> bool:
    made = value.func if isinstance(value, ast.Call) else value
    name = made.attr if isinstance(made, ast.Attribute) else getattr(made, "id", "")
    return name in {"metadata", "_metadata"}
