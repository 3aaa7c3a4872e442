"""Loads what many resolvers of a level ask for by one call to the store."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from crewmesh.v1.agent_pb2 import ListCrewsRequest
from crewmesh.v1.crew_pb2 import Crew
from crewmesh.v1.file_pb2 import Artifact, BatchListArtifactsRequest
from crewmesh.v1.run_pb2 import Run, RunEvent
from crewmesh.v1.run_store_pb2 import (
    BatchGetRunsRequest,
    BatchListRunEventsRequest,
    BatchListRunsRequest,
    RunTask,
)
from crewmesh_gateway.mesh import Mesh

Call = Callable[[Any, Any], Awaitable[Any]]
Item = TypeVar("Item")
Key = TypeVar("Key")

# What the store takes at once.
_MAX_RUNS = 1000
_MAX_CREWS = 200
_MAX_EVENTS = 1000


class Loaders:
    """One connection's loaders; each asks once for all keys of a level, and keeps nothing.

    Runs are keyed by id, crews by name, runs of crews by (crew, how many), events by
    (run, after, how many), and those of tasks by ((run, task), after, how many). Artifacts are a
    run's, and `makers` has by which task each of a run's was made, as their ids.
    """

    def __init__(self, call: Call, mesh: Mesh) -> None:
        self._call = call
        self._mesh = mesh
        self.runs: DataLoader[str, Run | None] = DataLoader(
            self._load_runs, max_batch_size=_MAX_RUNS, cache=False
        )
        self.crews: DataLoader[str, Crew | None] = DataLoader(self._load_crews, cache=False)
        self.runs_of_crews: DataLoader[tuple[str, int], list[Run]] = DataLoader(
            self._load_runs_of_crews, max_batch_size=_MAX_CREWS, cache=False
        )
        self.events: DataLoader[tuple[str, int, int], list[RunEvent]] = DataLoader(
            self._load_events, max_batch_size=_MAX_RUNS, cache=False
        )
        self.task_events: DataLoader[tuple[tuple[str, str], int, int], list[RunEvent]] = DataLoader(
            self._load_task_events, max_batch_size=_MAX_RUNS, cache=False
        )
        self.artifacts: DataLoader[str, list[Artifact]] = DataLoader(
            self._load_artifacts, max_batch_size=_MAX_RUNS, cache=False
        )

        self.makers: DataLoader[str, dict[str, str]] = DataLoader(
            self._load_makers, max_batch_size=_MAX_RUNS, cache=False
        )

    async def _load_crews(self, names: list[str]) -> list[Crew | None]:
        found: dict[str, Crew] = {}
        token = ""
        while True:
            request = ListCrewsRequest(page_size=_MAX_CREWS, page_token=token)
            answer = await self._call(self._mesh.agents.ListCrews, request)
            found |= {crew.name: crew for crew in answer.crews}
            token = answer.next_page_token
            # By name: those that are missing come later, or never.
            if not token or token >= max(names):
                return [found.get(name) for name in names]

    async def _load_runs(self, ids: list[str]) -> list[Run | None]:
        answer = await self._call(self._mesh.fleet.BatchGetRuns, BatchGetRunsRequest(run_ids=ids))
        found: dict[str, Run] = {run.id: run for run in answer.runs}
        return [found.get(run_id) for run_id in ids]

    async def _load_runs_of_crews(self, keys: list[tuple[str, int]]) -> list[list[Run]]:
        # A query asks for one number, or for a few by other names.
        found: dict[tuple[str, int], list[Run]] = {}
        for (limit,), crews in _grouped((key[1:], key[0]) for key in dict.fromkeys(keys)):
            request = BatchListRunsRequest(crews=crews, page_size=limit)
            answer = await self._call(self._mesh.fleet.BatchListRuns, request)
            by_crew = dict(_grouped((run.crew, run) for run in answer.runs))
            found |= {(crew, limit): by_crew.get(crew, []) for crew in crews}
        return [found[key] for key in keys]

    async def _load_events(self, keys: list[tuple[str, int, int]]) -> list[list[RunEvent]]:
        found: dict[tuple[str, int, int], list[RunEvent]] = {}
        for (after, limit), runs in _grouped((key[1:], key[0]) for key in dict.fromkeys(keys)):
            request = BatchListRunEventsRequest(run_ids=runs, after_seq=after, page_size=limit)
            answer = await self._call(self._mesh.fleet.BatchListRunEvents, request)
            by_run = dict(_grouped((event.run_id, event) for event in answer.events))
            found |= {(run, after, limit): by_run.get(run, []) for run in runs}
        return [found[key] for key in keys]

    async def _load_task_events(
        self, keys: list[tuple[tuple[str, str], int, int]]
    ) -> list[list[RunEvent]]:
        found: dict[tuple[tuple[str, str], int, int], list[RunEvent]] = {}
        for (after, limit), tasks in _grouped((key[1:], key[0]) for key in dict.fromkeys(keys)):
            request = BatchListRunEventsRequest(
                tasks=[RunTask(run_id=run, task=task) for run, task in tasks],
                after_seq=after,
                page_size=limit,
            )
            answer = await self._call(self._mesh.fleet.BatchListRunEvents, request)
            by_task = dict(_grouped(((event.run_id, event.task), event) for event in answer.events))
            found |= {(task, after, limit): by_task.get(task, []) for task in tasks}
        return [found[key] for key in keys]

    async def _load_artifacts(self, runs: list[str]) -> list[list[Artifact]]:
        request = BatchListArtifactsRequest(run_ids=runs)
        answer = await self._call(self._mesh.files.BatchListArtifacts, request)
        by_run = dict(_grouped((artifact.run_id, artifact) for artifact in answer.artifacts))
        return [by_run.get(run, []) for run in runs]

    async def _load_makers(self, runs: list[str]) -> list[dict[str, str]]:
        request = BatchListRunEventsRequest(
            run_ids=runs, types=["artifact.created"], page_size=_MAX_EVENTS
        )
        answer = await self._call(self._mesh.fleet.BatchListRunEvents, request)
        by_run = dict(_grouped((event.run_id, event) for event in answer.events))
        return [
            {json.loads(event.payload_json)["id"]: event.task for event in by_run.get(run, [])}
            for run in runs
        ]


def _grouped(pairs: Iterable[tuple[Key, Item]]) -> Sequence[tuple[Key, list[Item]]]:
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for key, item in pairs:
        groups[key].append(item)
    return list(groups.items())
