"""The tool that downloads files, several at once, and hands them in."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, Field
from yarl import URL

from crewmesh_worker.runner import artifacts
from crewmesh_worker.tools.network.client import Answer, require_success
from crewmesh_worker.tools.network.run import Network, network
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Downloads files of any type, several at the same time, and hands them in as files of the "
    "run. Returns for each its name, size, type and SHA-256, or why it can't be downloaded. Use "
    "fetch_pages instead to read what pages say."
)
_MAX_URLS = 10
_THREADS = 4
_MAX_NAME_CHARACTERS = 100
_UNSAFE = re.compile(r"[^\w.\- ]+")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")


class Arguments(BaseModel):
    """What the model gives."""

    urls: list[str] = Field(
        min_length=1,
        max_length=_MAX_URLS,
        description=f"The addresses of the files, http or https, at most {_MAX_URLS}.",
    )


def run(arguments: Arguments) -> str:
    """Return JSON: files with url, file, bytes, media_type, sha256, error."""
    urls = list(dict.fromkeys(url.strip() for url in arguments.urls))
    net = network()
    # The network's own thread receives; these write to the disk, each a file of its own.
    with ThreadPoolExecutor(min(_THREADS, len(urls))) as threads:
        drafts = [
            threads.submit(copy_context().run, _download, net, url, Path.cwd() / f".download-{i}")
            for i, url in enumerate(urls)
        ]
        files = [draft.result() for draft in drafts]
    for index, file in enumerate(files):
        _hand_in(file, Path.cwd() / f".download-{index}")
    return json.dumps({"files": files}, ensure_ascii=False)


def _download(net: Network, url: str, path: Path) -> dict[str, Any]:
    """Write what a URL answers to a file; return what it is, or why it could not be had."""
    digest, size = hashlib.sha256(), 0
    try:
        with net.stream_file(url) as (answer, pieces), path.open("wb") as file:
            require_success(answer)
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
    except ToolError as error:
        path.unlink(missing_ok=True)
        return {"url": url, "file": None, "error": str(error)}
    return {
        "url": url,
        "file": _name(answer),
        "bytes": size,
        "media_type": _media_type(answer),
        "sha256": digest.hexdigest(),
        "error": None,
    }


def _hand_in(file: dict[str, Any], draft: Path) -> None:
    """Keep a downloaded file under a name that no other file of the run has."""
    if file["error"] is not None:
        return
    path = _free(Path.cwd() / file["file"])
    draft.rename(path)
    file["file"] = path.name
    artifacts.save(path, path.name, file["media_type"])


def _free(path: Path) -> Path:
    number, free = 2, path
    while free.exists():
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free


def _name(answer: Answer) -> str:
    """Return a file name that is safe anywhere, whatever the server or the URL says."""
    header = Message()
    header["Content-Disposition"] = answer.headers.get("Content-Disposition", "")
    said = header.get_filename() or unquote(URL(answer.url).raw_name)
    # Not a path, not hidden, nothing that a shell or a browser reads anything into.
    name = _UNSAFE.sub("_", re.split(r"[/\\]", said)[-1]).strip(" .")[-_MAX_NAME_CHARACTERS:]
    name = name.lstrip(" .") or "download"
    suffix = mimetypes.guess_extension(_media_type(answer)) or ""
    return name if Path(name).suffix else name + suffix


def _media_type(answer: Answer) -> str:
    matches = _MEDIA_TYPE.fullmatch(answer.media_type)
    return answer.media_type if matches else "application/octet-stream"
