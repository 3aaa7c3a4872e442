"""What a runner is told to carry out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from crewmesh.v1 import run_store_pb2, runner_pb2
from crewmesh_worker.crews.definition import CrewDefinition, to_json
from crewmesh_worker.projects.project import Project
from crewmesh_worker.runs.choice import ModelChoice


def make_request(
    lease: run_store_pb2.Lease,
    choice: ModelChoice,
    inputs_json: str,
    work_dir: Path,
    environment: Mapping[str, str],
    dataset_paths: Mapping[str, str],
) -> runner_pb2.Execute:
    """Return all that an attempt of any crew is told."""
    definition = choice.definition
    return runner_pb2.Execute(
        run_id=lease.run.id,
        definition_json=to_json(definition) if isinstance(definition, CrewDefinition) else "",
        inputs_json=inputs_json,
        work_dir=str(work_dir),
        model=choice.models[0],
        fallback_models=choice.models[1:],
        environment={**environment, **lease.secrets},
        policy_json=lease.policy_json,
        terms=runner_pb2.CallTerms(budgeted=lease.budgeted, seconds_left=lease.run.timeout_seconds),
        checkpoints=lease.checkpoints,
        effects=lease.effects,
        answer=lease.answer if lease.HasField("answer") else None,
        dataset_paths=dataset_paths,
    )


def make_project(
    project: Project, made: Path | None, choice: ModelChoice, secrets: Iterable[str]
) -> runner_pb2.Project:
    """Return a project's part, with its .env as it is now; `made` holds earlier attempts' files.

    `secrets` are the names of the tenant's variables.
    """
    return runner_pb2.Project(
        snapshot_dir=str(project.snapshot),
        entry_json=json.dumps(project.entry),
        env_file=project.read_env_file(),
        made_dir=str(made) if made is not None else "",
        exchanges_all_models=choice.exchanges_all,
        fixed_variables=secrets,
    )
