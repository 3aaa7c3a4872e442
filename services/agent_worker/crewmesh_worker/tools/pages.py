"""What a web page says, without its menus, advertisements and scripts."""

from __future__ import annotations

from dataclasses import dataclass

import trafilatura

from crewmesh_worker.tools.network.client import Body

HTML_TYPES = ("text/html", "application/xhtml+xml")
READABLE_TYPES = (*HTML_TYPES, "text/plain", "text/markdown", "text/x-markdown")
# Larger pages are read by one algorithm instead of the best of three, which takes thrice as long.
_LARGE_BYTES = 300_000


@dataclass(frozen=True)
class Page:
    """A page's title, "" where it has none, and its text."""

    title: str
    text: str


def read_page(body: Body) -> Page:
    """Return what a page says; its text is "" where it holds none that can be told apart."""
    if body.media_type not in HTML_TYPES:
        return Page("", body.text.strip())
    html = body.content if body.charset is None else body.text
    document = trafilatura.bare_extraction(
        html,
        url=body.url,
        include_comments=False,
        with_metadata=True,
        fast=len(body.content) > _LARGE_BYTES,
    )
    if document is None or isinstance(document, dict):
        return Page("", trafilatura.html2txt(html).strip())
    return Page((document.title or "").strip(), (document.text or "").strip())
