"""Which projects a directory holds, by their `pyproject.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crewmesh.common.errors import InvalidInputError

_PYPROJECT: Final = "pyproject.toml"
_UNFIT: Final = re.compile(r"[^a-z0-9_]+")
_MAX_NAME: Final = 63
_RELEASE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.]{0,39}")
# The script that starts a crew or flow, in the order in which CrewAI's templates name it.
_SCRIPTS: Final = ("run_crew", "kickoff")


@dataclass(frozen=True)
class Source:
    """A project as its `pyproject.toml` describes it.

    `kind` is crew or flow. `definition` is the path of a JSON crew or a declarative flow in
    it; otherwise `script` is the `package.module:function` that starts it. `release` is the
    version that it says it has.
    """

    root: Path
    name: str
    kind: str
    description: str
    definition: str = ""
    script: str = ""
    release: str = "0"

    @property
    def entry(self) -> dict[str, str]:
        """What its runners need to load it."""
        return {"kind": self.kind, "definition": self.definition, "script": self.script}


@dataclass(frozen=True)
class Unusable:
    """A project that can't be read, and why."""

    root: Path
    name: str
    error: str


def is_project(directory: Path) -> bool:
    """Tell whether the directory is itself a CrewAI project."""
    try:
        return "crewai" in _read(directory / _PYPROJECT).get("tool", {})
    except (OSError, tomllib.TOMLDecodeError):
        return False


def find_projects(directory: Path) -> list[Source | Unusable]:
    """Return the projects in a directory, by name; or the one that it is itself."""
    if is_project(directory):
        return [_inspect(directory)]
    pyprojects = sorted(directory.glob(f"*/{_PYPROJECT}"))
    found = [_inspect(path.parent) for path in pyprojects if _mentions_crewai(path)]
    return _without_doubles(found)


def project_name(text: str) -> str:
    """Return a project's name as a crew's: lower case, with dashes for what it can't hold."""
    name = _UNFIT.sub("-", text.lower()).strip("-_")
    return (name if name[:1].isalpha() else f"project-{name}")[:_MAX_NAME].rstrip("-")


def _inspect(root: Path) -> Source | Unusable:
    name = project_name(root.resolve().name)
    try:
        data = _read(root / _PYPROJECT)
        name = project_name(data.get("project", {}).get("name") or name)
        return _source(root, name, data)
    except tomllib.TOMLDecodeError as error:
        return Unusable(root, name, f"{_PYPROJECT} is not TOML: {error}")
    except (OSError, InvalidInputError) as error:
        return Unusable(root, name, str(error))


def _source(root: Path, name: str, data: dict[str, Any]) -> Source:
    config = data["tool"]["crewai"]
    kind = config.get("type", "crew")
    if kind not in ("crew", "flow"):
        raise InvalidInputError(f"[tool.crewai] type is {kind!r}: only crew and flow can be run")
    definition = config.get("definition") or ""
    if definition and not _is_inside(root, definition):
        raise InvalidInputError(
            f"[tool.crewai] definition: {definition!r} is no file of the project"
        )
    script = "" if definition else _script(data)
    description = str(data.get("project", {}).get("description") or f"The {kind} {name}.")
    release = str(data.get("project", {}).get("version", ""))
    if not _RELEASE.fullmatch(release):
        release = "0"
    return Source(root, name, kind, description, definition, script, release)


def _script(data: dict[str, Any]) -> str:
    scripts = data.get("project", {}).get("scripts", {})
    named = [scripts[name] for name in _SCRIPTS if name in scripts]
    for script in [*named, *scripts.values()]:
        if re.fullmatch(r"[\w.]+:\w+", script):
            return str(script)
    raise InvalidInputError(
        'it has neither [tool.crewai] definition nor [project.scripts], such as run_crew = "'
        'package.main:run", so there is nothing to start'
    )


def _is_inside(root: Path, path: str) -> bool:
    found = (root / path).resolve()
    return found.is_relative_to(root.resolve()) and found.is_file()


def _mentions_crewai(pyproject: Path) -> bool:
    # Also one that is no TOML: it is listed with that fault.
    return "tool.crewai" in pyproject.read_text(encoding="utf-8", errors="replace")


def _without_doubles(found: list[Source | Unusable]) -> list[Source | Unusable]:
    by_name: dict[str, Source | Unusable] = {}
    for project in found:
        if (first := by_name.get(project.name)) is not None:
            error = f"{first.root.name} and {project.root.name} have the same name: rename one"
            by_name[project.name] = Unusable(first.root, project.name, error)
        else:
            by_name[project.name] = project
    return list(by_name.values())


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
