"""What is different between two versions of a crew."""

from __future__ import annotations

import difflib

from crewmesh_worker.crews.definition import to_yaml
from crewmesh_worker.crews.sources import CrewVersion


def diff_versions(first: CrewVersion, second: CrewVersion) -> str:
    """Return a unified diff of both as YAML; "" where they are the same."""
    lines = difflib.unified_diff(
        to_yaml(first.definition).splitlines(),
        to_yaml(second.definition).splitlines(),
        f"{first.definition.name} {first.version}",
        f"{second.definition.name} {second.version}",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)
