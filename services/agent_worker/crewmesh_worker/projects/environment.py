"""A project's own Python environment, made by uv before anything runs in it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

import uv

from crewmesh.common.errors import CrewmeshError
from crewmesh_worker.runner.overlay import NEEDED

# Is in an environment that is whole.
COMPLETE: Final = ".complete"
_LOCK: Final = "uv.lock"
_PYPROJECT: Final = "pyproject.toml"
# Raised when environments of the same dependencies are to be made anew.
_GENERATION: Final = "1"
_SHOWN_LINES: Final = 12
_PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


class ProjectEnvironmentError(CrewmeshError):
    """A project's environment can't be made; the message has uv's reason."""

    default_reason = "PROJECT_ENVIRONMENT"


def environment_key(root: Path) -> str:
    """Return what the environment depends on, as one hash.

    Projects with the same dependencies share one: nothing of a project is in it.
    """
    data = tomllib.loads((root / _PYPROJECT).read_text(encoding="utf-8"))
    project, sources = data.get("project", {}), data.get("tool", {}).get("uv", {})
    wanted = project.get("dependencies", []), project.get("requires-python"), sources
    digest = hashlib.sha256(json.dumps([_GENERATION, _PYTHON, NEEDED, wanted]).encode())
    if (lock := root / _LOCK).is_file():
        digest.update(lock.read_bytes())
    if "sources" in sources:
        digest.update(str(root).encode())  # they may be paths beside it
    return digest.hexdigest()[:16]


def environments_directory(cache_dir: Path) -> Path:
    """Return where the environments are, each under its key."""
    return cache_dir / "environments"


def environment_python(cache_dir: Path, key: str) -> Path:
    """Return the interpreter of an environment, there or not."""
    return environments_directory(cache_dir) / key / "bin" / "python"


async def make_environment(root: Path, cache_dir: Path, key: str) -> Path:
    """Install the project's dependencies, and the little that our runners need; return its Python.

    The project itself isn't installed: its versions share one environment as long as their
    dependencies are the same. Raises ProjectEnvironmentError.
    """
    directory = environments_directory(cache_dir) / key
    directory.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)  # of an attempt that was cut off
    try:
        await _uv("venv", "--quiet", "--python", sys.executable, str(directory), root=root)
        if (root / _LOCK).is_file():
            await _install_locked(root, directory)
        else:
            await _install(root, directory)
        (directory / COMPLETE).touch()
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return environment_python(cache_dir, key)


def is_complete(cache_dir: Path, key: str) -> bool:
    """Tell whether the environment is there, whole."""
    return (environments_directory(cache_dir) / key / COMPLETE).exists()


async def _install(root: Path, directory: Path) -> None:
    # In one resolution, so that what can't be had together is said.
    await _uv("pip", "install", *_target(directory), "-r", str(root / _PYPROJECT), *NEEDED,
              root=root)  # fmt: skip


async def _install_locked(root: Path, directory: Path) -> None:
    await _uv(
        *("sync", "--frozen", "--no-dev", "--no-install-project", "--inexact", "--quiet"),
        *("--project", str(root), "--python", str(directory / "bin" / "python")),
        root=root,
        UV_PROJECT_ENVIRONMENT=str(directory),
    )
    locked = await _uv("pip", "freeze", "--quiet", *_target(directory), root=root)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        # What the lock says stays as it is.
        constraints.write(locked)
        constraints.flush()
        await _uv(
            *("pip", "install", *_target(directory), *NEEDED, "--constraint", constraints.name),
            root=root,
        )


def _target(directory: Path) -> list[str]:
    return ["--python", str(directory / "bin" / "python")]


async def _uv(*arguments: str, root: Path, **variables: str) -> str:
    """Run uv and return what it prints; raise ProjectEnvironmentError with the end of what it says."""
    process = await asyncio.create_subprocess_exec(
        uv.find_uv_bin(), *arguments,
        cwd=root,
        env={**_environment(), **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        said = "\n".join(errors.decode(errors="replace").strip().splitlines()[-_SHOWN_LINES:])
        raise ProjectEnvironmentError(
            f"its environment can't be made; `uv {arguments[0]} {arguments[1]}` says: {said}"
        )
    return output.decode()


def _environment() -> dict[str, str]:
    """Return what uv may know: where indexes and caches are, and none of the mesh's secrets."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    names = {*kept, *proxies, *(name.lower() for name in proxies)}
    return {
        "UV_PYTHON_DOWNLOADS": "never",
        **{n: v for n, v in os.environ.items() if n in names or n.startswith(("UV_", "PIP_"))},
        "UV_NO_PROGRESS": "1",
    }
