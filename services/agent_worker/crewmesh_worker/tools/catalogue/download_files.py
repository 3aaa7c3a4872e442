"""The tool that downloads files, several at once, and hands them in."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from functools import partial
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
OUTSIDE = True
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
    download = partial(_download, network())
    # The network's own thread receives; these write to the disk, each a file of its own.
    with ThreadPoolExecutor(min(_THREADS, len(urls))) as threads:
        downloads = list(threads.map(download, urls))
    return json.dumps({"files": [_hand_in(*each) for each in downloads]}, ensure_ascii=False)


def _download(net: Network, url: str) -> tuple[dict[str, Any], Path]:
    """Write what a URL answers to a draft; return what it is, or why it could not be had."""
    handle, name = tempfile.mkstemp(prefix=".download-", dir=Path.cwd())
    draft, digest, size = Path(name), hashlib.sha256(), 0
    try:
        with os.fdopen(handle, "wb") as file, net.stream_file(url) as (answer, pieces):
            require_success(answer)
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
    except ToolError as error:
        return {"url": url, "file": None, "error": str(error)}, draft
    return {
        "url": url,
        "file": _name(answer),
        "bytes": size,
        "media_type": _media_type(answer),
        "sha256": digest.hexdigest(),
        "error": None,
    }, draft


def _hand_in(file: dict[str, Any], draft: Path) -> dict[str, Any]:
    """Keep a download under a name that no other file of the run has; return what is told of it."""
    if file["error"] is None:
        path = _link(draft, Path.cwd() / file["file"])
        file["file"] = path.name
        artifacts.save(path, path.name, file["media_type"])
    draft.unlink()
    return file


def _link(draft: Path, path: Path) -> Path:
    """Give a file the first free name after `path`, whoever else takes names at the same time."""
    number, free = 2, path
    while True:
        try:
            free.hardlink_to(draft)
        except FileExistsError:
            free = path.with_stem(f"{path.stem}-{number}")
            number += 1
        else:
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
