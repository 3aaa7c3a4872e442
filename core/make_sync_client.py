"""Make the synchronous client from the asynchronous one: `python core/make_sync_client.py`.

As httpcore and psycopg do it: the two differ in words only, so one is written and the other
is made from it. A test holds that they agree.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent / "crewmesh" / "client"
_HEAD = "# Made from the file of the same name in _async by core/make_sync_client.py.\n"

# In this order; a pattern matches whole words.
_REPLACEMENTS = (
    (r"from collections\.abc import (.*)Awaitable, (.*)", r"from collections.abc import \1\2"),
    (r"Awaitable\[(Page\[Item\])\]", r"\1"),
    (r"import asyncio", "import time"),
    (r"await asyncio\.sleep", "time.sleep"),
    (r"httpx2\.AsyncClient", "httpx2.Client"),
    (r"AsyncIterator", "Iterator"),
    (r"Async([A-Z]\w*)", r"\1"),
    (r"_async", "_sync"),
    (r"async (def|with|for)", r"\1"),
    (r"await ", ""),
    (r"aclosing", "closing"),
    (r"aclose", "close"),
    (r"aread", "read"),
    (r"aiter_bytes", "iter_bytes"),
    (r"__aenter__", "__enter__"),
    (r"__aexit__", "__exit__"),
)


def made_from(source: str) -> str:
    """Return the synchronous form of a module's text."""
    for pattern, replacement in _REPLACEMENTS:
        source = re.sub(rf"(?<!\w){pattern}", replacement, source)
    return _HEAD + source


def make(target: Path) -> None:
    """Write the synchronous client's modules into `target`, formatted."""
    target.mkdir(exist_ok=True)
    for path in (CLIENT / "_async").glob("*.py"):
        (target / path.name).write_text(made_from(path.read_text("utf-8")), "utf-8")
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--config", str(CLIENT.parents[2] / "pyproject.toml"), "--quiet", str(target)]
    subprocess.run([*ruff, "check", "--fix", "--select", "I", *config], check=True)
    subprocess.run([*ruff, "format", *config], check=True)


if __name__ == "__main__":
    make(CLIENT / "_sync")
