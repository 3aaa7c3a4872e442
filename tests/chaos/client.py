"""What one client asks for, and everything that it is told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

TERMINAL_TYPES = frozenset({"run.succeeded", "run.failed", "run.cancelled", "run.timed_out"})

_FEW_ATTEMPTS = 0.1
_PAYS = 0.4
_SAVES = 0.3
_HAS_DATA = 0.2
_ASKS = 0.25
# How clients reach the mesh: over REST, or over gRPC with one call or two.
_WAYS = {"rest": 0.7, "grpc StartRun": 0.15, "grpc RunCrew": 0.15}


@dataclass
class Answer:
    """A person's, to the event with the number `question`."""

    question: int
    text: str
    approve: bool
    # How often the mesh said that it has it, and how often that it can't take it.
    acknowledged: int = 0
    refused: int = 0


@dataclass
class Client:
    """A run that somebody wants, and their record of it."""

    key: str
    tasks: int
    max_attempts: int = 20
    # Whether each task calls a tool with a side effect, and whether it makes a file.
    pays: bool = False
    saves: bool = False
    # The task that must be approved by a person, or -1.
    asks: int = -1
    # Whether the run works on a dataset.
    has_data: bool = False
    way: str = "rest"
    # The dataset's id, once it is accepted, and the SHA-256 of what came back.
    dataset: str = ""
    dataset_came_back_as: str = ""
    # Of every answer that accepted the run.
    accepted: list[str] = field(default_factory=list)
    # For each watcher, the events that it saw, in order.
    seen: list[list[Json]] = field(default_factory=list)
    # The run as it was shown in answers to requests for cancellation.
    cancels: list[Json] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    # The SHA-256 of each artifact that was announced, as downloaded.
    downloads: dict[str, str] = field(default_factory=dict)
    # The run as it was shown in the end.
    final: Json | None = None
    # What no client should ever be told.
    complaints: list[str] = field(default_factory=list)
    reconnects: int = 0
    repetitions: int = 0

    @property
    def run_id(self) -> str:
        """Return the run's id, or "" while it isn't accepted."""
        return self.accepted[0] if self.accepted else ""

    @property
    def heard(self) -> int:
        """Return how much it has been told so far."""
        seen = sum(len(events) for events in self.seen)
        return seen + len(self.accepted) + len(self.downloads) + (self.final is not None)

    @property
    def inputs(self) -> Json:
        """Return the run's inputs."""
        inputs = {
            "key": self.key,
            "tasks": self.tasks,
            "pays": self.pays,
            "saves": self.saves,
            "asks": self.asks,
        }
        return inputs | ({"data": self.dataset} if self.has_data else {})


def make_client(key: str, rng: random.Random) -> Client:
    """Return a client that wants this and that."""
    tasks = rng.randint(1, 5)
    return Client(
        key,
        tasks,
        max_attempts=rng.randint(1, 2) if rng.random() < _FEW_ATTEMPTS else 20,
        pays=rng.random() < _PAYS,
        saves=rng.random() < _SAVES,
        asks=rng.randrange(tasks) if rng.random() < _ASKS else -1,
        has_data=rng.random() < _HAS_DATA,
        way=_choose(rng, list(_WAYS), list(_WAYS.values())),
    )


def _choose(rng: random.Random, names: Sequence[str], weights: Sequence[float]) -> str:
    return rng.choices(names, weights)[0]
