"""The console's files, built from `console/` and shipped in this package."""

from __future__ import annotations

import gzip
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

FILES: Final = Path(__file__).parents[1] / "console"
# Addresses that the console shows something at. Deep links and reloads begin there, too.
VIEWS: Final = (
    "sign-in",
    "runs",
    "sessions",
    "crews",
    "datasets",
    "compare",
    "fleet",
    "usage",
    "keys",
    "members",
)

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
}
# An asset's name has its content's hash in it.
_KEPT_FOR_EVER: Final = "public, max-age=31536000, immutable"
_COMPRESSIBLE: Final = (".js", ".css", ".html", ".svg")


@dataclass(frozen=True)
class _File:
    content: bytes
    compressed: bytes | None
    media_type: str

    @classmethod
    def read(cls, path: Path) -> _File:
        content = path.read_bytes()
        return cls(
            content,
            gzip.compress(content, mtime=0) if path.suffix in _COMPRESSIBLE else None,
            mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        )

    def answer(self, request: Request, cache_control: str) -> Response:
        headers = {**_HEADERS, "Cache-Control": cache_control}
        content = self.content
        if self.compressed is not None:
            headers["Vary"] = "Accept, Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                headers["Content-Encoding"] = "gzip"
                content = self.compressed
        return Response(content, headers=headers, media_type=self.media_type)


class Console:
    """The console's page and its assets, in memory: about a megabyte."""

    def __init__(self, page: _File, assets: dict[str, _File]) -> None:
        self._page = page
        self._assets = assets

    @classmethod
    def read(cls, directory: Path = FILES) -> Console | None:
        """Return the console; None where it wasn't built."""
        page = directory / "index.html"
        if not page.is_file():
            return None
        assets = {path.name: _File.read(path) for path in (directory / "assets").iterdir()}
        return cls(_File.read(page), assets)

    def add_to(self, app: FastAPI) -> None:
        """Serve it at its addresses."""
        for view in VIEWS:
            for path in (f"/{view}", f"/{view}/{{rest:path}}"):
                app.add_api_route(path, self.answer_page, include_in_schema=False)
        app.add_api_route("/assets/{name}", self.answer_asset, include_in_schema=False)

    async def answer_page(self, request: Request) -> Response:
        """Return the page; which view it shows is decided in the browser."""
        return self._page.answer(request, "no-cache")

    async def answer_asset(self, request: Request, name: str) -> Response:
        """Return what the page consists of."""
        if name not in self._assets:
            raise HTTPException(404)
        return self._assets[name].answer(request, _KEPT_FOR_EVER)
