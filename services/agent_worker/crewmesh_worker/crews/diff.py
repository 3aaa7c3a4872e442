"""What is different between two versions of a crew."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from crewmesh.common.errors import StateError
from crewmesh_worker.crews.definition import CrewDefinition, to_yaml
from crewmesh_worker.crews.sources import CrewVersion

_CONTEXT: Final = 3
# Comparing takes, at worst, this many steps: well under a second.
_MAX_COMPARISONS: Final = 1_000_000


def diff_versions(first: CrewVersion, second: CrewVersion) -> str:
    """Return a unified diff of both as YAML; "" where they are the same.

    Raises StateError for a project's: they are directories of files.
    """
    lines = diff_lines(
        _yaml(first).splitlines(),
        _yaml(second).splitlines(),
        f"{first.definition.name} {first.version}",
        f"{second.definition.name} {second.version}",
    )
    return "".join(f"{line}\n" for line in lines)


def _yaml(crew: CrewVersion) -> str:
    if not isinstance(crew.definition, CrewDefinition):
        raise StateError(
            f"{crew.definition.name!r} is a project: compare its files where they are kept",
            reason="NOT_A_DEFINITION",
        )
    return to_yaml(crew.definition)


def diff_lines(
    first: Sequence[str], second: Sequence[str], first_name: str, second_name: str
) -> Iterator[str]:
    """Yield a unified diff; where too much is different to compare, of one whole block."""
    head = _alike(first, second)
    tail = _alike(first[head:][::-1], second[head:][::-1])
    changed = len(first) - head - tail, len(second) - head - tail
    if changed[0] * changed[1] <= _MAX_COMPARISONS:
        yield from difflib.unified_diff(
            first, second, first_name, second_name, n=_CONTEXT, lineterm=""
        )
        return
    start, after = max(0, head - _CONTEXT), min(tail, _CONTEXT)
    sizes = [head - start + count + after for count in changed]
    yield f"--- {first_name}"
    yield f"+++ {second_name}"
    yield f"@@ -{start + 1},{sizes[0]} +{start + 1},{sizes[1]} @@"
    yield from (f" {line}" for line in first[start:head])
    yield from (f"-{line}" for line in first[head : head + changed[0]])
    yield from (f"+{line}" for line in second[head : head + changed[1]])
    yield from (f" {line}" for line in first[head + changed[0] :][:after])


def _alike(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many lines at the beginning are the same."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
