"""A project at one version, ready to be run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crewmesh.v1 import crew_pb2
from crewmesh_worker.projects.snapshot import ENV_FILE


@dataclass(frozen=True)
class Project:
    """What the mesh shows of a project, and what its runners need.

    `inputs` is the JSON Schema of a run's inputs; `root` is where the project was found.
    """

    name: str
    version: str
    kind: str
    description: str
    root: Path
    snapshot: Path
    python: Path
    entry: dict[str, str]
    inputs: dict[str, Any] = field(default_factory=dict)
    agents: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, str]] = field(default_factory=list)

    # A project's inputs are plain values: none is a dataset.
    dataset_inputs = ()

    def read_env_file(self) -> str:
        """Return the project's .env as it is now, "" if it has none."""
        try:
            return (self.root / ENV_FILE).read_text(encoding="utf-8")
        except OSError:
            return ""

    def to_proto(self) -> crew_pb2.Crew:
        """Return what clients see of it, besides its names."""
        return crew_pb2.Crew(
            inputs_schema_json=json.dumps(self.inputs),
            agents=[crew_pb2.CrewAgent(**agent) for agent in self.agents],
            tasks=[crew_pb2.CrewTask(**task) for task in self.tasks],
            kind=self.kind,
        )


@dataclass(frozen=True)
class BrokenProject:
    """A project that can't be run, and why."""

    name: str
    root: Path
    error: str
    kind: str = "crew"
    description: str = "A project that can't be run."

    # Nobody knows which files it would have.
    version = "none"

    def to_proto(self) -> crew_pb2.Crew:
        """Return what clients see of it, besides its names."""
        return crew_pb2.Crew(inputs_schema_json="{}", kind=self.kind, error=self.error)


def write_project(project: Project, path: Path) -> None:
    """Keep what was found out about a version beside its snapshot."""
    data = {**asdict(project), "root": str(project.root)}
    for name in ("snapshot", "python"):
        del data[name]
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(data), encoding="utf-8")
    draft.replace(path)


def read_project(path: Path, snapshot: Path, python: Path, root: Path) -> Project:
    """Return what `write_project` kept. Raises OSError or ValueError for anything else."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Project(**{**data, "root": root}, snapshot=snapshot, python=python)
