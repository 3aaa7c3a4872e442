"""The trained model of a run's dataset: trained once, kept, mapped."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from crewmesh_worker.runner import cache
from crewmesh_worker.tools.database import Database
from crewmesh_worker.tools.recommending import training
from crewmesh_worker.tools.recommending.columns import find_columns
from crewmesh_worker.tools.recommending.model import FORMAT, Model

_KIND: Final = "recommenders"
_MAPPED: Final = 4
_INPUTS: Final = ("user_column", "item_column", "rating_column", "time_column")

# A process runs for one organisation only, so what it has mapped may stay.
_models: OrderedDict[str, Model] = OrderedDict()


def trained_model(database: Database, table: str, inputs: Mapping[str, Any]) -> Model:
    """Return the model of a table, training it if no run of the organisation has yet.

    Raises ToolError for a dataset that can't be learnt from.
    """
    given = {name: inputs[name] for name in _INPUTS if inputs.get(name)}
    key = _key(database.path(table), given)
    if key not in _models:
        _models[key] = _kept(database, table, given, key)
        if len(_models) > _MAPPED:
            _models.popitem(last=False)
    _models.move_to_end(key)
    return _models[key]


def _kept(database: Database, table: str, given: Mapping[str, Any], key: str) -> Model:
    def train(directory: Path) -> None:
        columns = find_columns(database.columns(table), given)
        training.train(database, table, columns).save(directory)

    kept = cache.make_once(_KIND, key, train)
    try:
        return Model.load(kept)
    except (EOFError, OSError, ValueError):  # half of it was lost with a machine, or it was pruned
        cache.discard(kept)
        return Model.load(cache.make_once(_KIND, key, train))


def _key(path: Path, given: Mapping[str, Any]) -> str:
    """Name all that a model depends on: the dataset, columns, what trains it and how.

    Datasets don't change, and their files here are named by their ids: reading one whole for
    a digest would take longer than the answer.
    """
    file = path.stat()
    parts = [
        [str(path), file.st_size, file.st_mtime_ns],
        sorted(given.items()),
        [FORMAT, training.NEIGHBOURS, version("implicit")],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]
