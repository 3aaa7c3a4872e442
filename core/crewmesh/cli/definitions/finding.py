"""Which files a definition is made of: one, CrewAI's classic pair, or its JSON project."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crewmesh.cli.definitions.bundle import Bundle, Part
from crewmesh.cli.errors import UsageError
from crewmesh.common.documents import read_json, read_yaml, strip_comments
from crewmesh.common.errors import InvalidInputError

_JSON, _YAML = "application/json", "application/yaml"
_MEDIA_TYPES = {".json": _JSON, ".jsonc": _JSON, ".yaml": _YAML, ".yml": _YAML}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
# Names of files that say nothing of the crew.
_PLAIN_STEMS = frozenset({"crew", "agents", "config"})


def read_bundle(path: Path, name: str | None) -> Bundle:
    """Return the definition in a file or a directory.

    `name` is the crew's; by default its own in the file, or the file's or directory's.
    Raises UsageError with every fault that shows here already.
    """
    if path.is_dir():
        return _read_directory(path, name)
    if not path.is_file():
        raise UsageError(f"there is no file or directory {path}", next_step="check the path")
    if path.suffix.lower() not in _MEDIA_TYPES:
        raise UsageError(
            f"{path} is no definition",
            why=f"its name must end in one of {', '.join(_MEDIA_TYPES)}",
            next_step="see docs/how-to/bring-a-crew.md",
        )
    part = _read_part((), path)
    value = _value(part)
    stem = path.parent.absolute().name if path.stem in _PLAIN_STEMS else path.stem
    return Bundle(
        name or _name_in(value) or _as_name(stem),
        part.text.encode(),
        _MEDIA_TYPES[path.suffix.lower()],
        [part],
    )


def _read_directory(directory: Path, name: str | None) -> Bundle:
    parts = list(_json_project(directory)) or list(_classic_pair(directory))
    if not parts:
        raise UsageError(
            f"there is no crew in {directory}",
            why="it has neither crew.json(c) with agents/*.json(c), nor agents.yaml and "
            "tasks.yaml (also looked for in config/ and src/*/config/)",
            next_step="name the file or its directory",
        )
    document: dict[str, Any] = {}
    for part in parts:
        _put(document, part, _value(part))
    return Bundle(
        name or _name_in(document) or _as_name(directory.absolute().name),
        json.dumps(document, ensure_ascii=False).encode(),
        _JSON,
        parts,
    )


def _json_project(directory: Path) -> Iterator[Part]:
    """Yield crew.json(c), then the files of the agents that it names."""
    crew_file = _first(directory, "crew")
    if crew_file is None:
        return
    crew = _read_part((), crew_file)
    yield crew
    document = _value(crew)
    if not isinstance(document, dict) or not isinstance(document.get("agents"), list):
        return
    for agent in [*document["agents"], document.get("manager_agent")]:
        if not isinstance(agent, str):
            continue
        # A name is one of a file here, never a path to another.
        file = _first(directory / "agents", agent) if "/" not in agent else None
        if file is None:
            raise UsageError(
                f"{crew_file.name} names the agent {agent!r}, whose file is missing",
                why=f"there is no {directory / 'agents'}/{agent}.json(c)",
            )
        yield _read_part(("agents", agent), file)


def _classic_pair(directory: Path) -> Iterator[Part]:
    places = [directory, directory / "config", *sorted(directory.glob("src/*/config"))]
    for place in places:
        agents, tasks = place / "agents.yaml", place / "tasks.yaml"
        if agents.is_file() and tasks.is_file():
            yield _read_part(("agents",), agents)
            yield _read_part(("tasks",), tasks)
            return


def _put(document: dict[str, Any], part: Part, value: Any) -> None:
    if not part.place:
        document.update(value if isinstance(value, dict) else {"crew": value})
        return
    *parents, last = map(str, part.place)
    target = document
    for key in parents:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[last] = value


def _first(directory: Path, stem: str) -> Path | None:
    candidates = (directory / f"{stem}.jsonc", directory / f"{stem}.json")
    return next((path for path in candidates if path.is_file()), None)


def _read_part(place: tuple[str | int, ...], path: Path) -> Part:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", next_step="save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"can't read {path}", why=error.strerror or "") from error
    return Part(place, path, strip_comments(text) if path.suffix.lower() == ".jsonc" else text)


def _value(part: Part) -> Any:
    read = read_yaml if _MEDIA_TYPES[part.path.suffix.lower()] == _YAML else read_json
    try:
        return read(part.text)
    except InvalidInputError as error:
        raise UsageError(
            f"{part.path} can't be read",
            details=[f"{fault.field}: {fault.message}" for fault in error.violations],
            next_step="correct it and push again",
        ) from error


def _name_in(document: Any) -> str:
    name = document.get("name") if isinstance(document, dict) else None
    return _as_name(name) if isinstance(name, str) and name.strip() else ""


def _as_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63]
    if not _NAME.fullmatch(name):
        raise UsageError(f"{text!r} is no name for a crew", next_step="name it with --name NAME")
    return name
