"""Our own packages, as a project's environment gets to see them.

A directory of links to the few that runners are made of (and to one that needs nothing else and
any Python of a project's can import), and nothing else of ours: it
goes on the path of a project's runners, whose own packages stay what they were.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("crewmesh.v1", "crewmesh.common", "crewmesh_worker", "landlockpy")

# What they import besides the standard library and CrewAI. The generated stubs need this
# protobuf at least; the rest is as loose as it can be.
NEEDED: Final = (
    *("crewai>=1.15.10,<2", "protobuf>=5.29", "psutil>=5.9", "structlog>=23.1"),
    *("tenacity>=8.2", "bm25s>=0.2.6"),
)


def make_overlay(cache_dir: Path) -> Path:
    """Return the directory of links, made where it isn't there yet."""
    links = {package.replace(".", "/"): _location(package) for package in _PACKAGES}
    digest = hashlib.sha256(repr(sorted(links.items())).encode()).hexdigest()[:16]
    overlay = cache_dir / "overlays" / digest
    if not overlay.exists():
        overlay.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=overlay.parent))
        for name, target in links.items():
            link = draft / name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(target)
        try:
            draft.rename(overlay)
        except OSError:
            if not overlay.exists():  # else another worker was faster
                raise
    return overlay


def python_command(python: Path, overlay: Path, module: str) -> list[str]:
    """Return what runs a module of ours in a project's environment, before its arguments."""
    code = (
        "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [str(python), "-P", "-c", code, str(overlay)]


def _location(package: str) -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]).resolve())
