"""Wikipedia, or another MediaWiki: what a topic is; see https://www.mediawiki.org/wiki/API:Query."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from yarl import URL

from crewmesh_worker.tools.external.shapes import read, require_success
from crewmesh_worker.tools.network.client import NetworkClient
from crewmesh_worker.tools.network.settings import address
from crewmesh_worker.tools.registry import ToolError

SERVICE = "Wikipedia"
_QUERY = {
    "action": "query",
    "format": "json",
    "formatversion": "2",
    "redirects": "1",
    # Search, then the found page's first section and address, in one request.
    "generator": "search",
    "gsrlimit": "1",
    "prop": "extracts|description|info",
    "exintro": "1",
    "explaintext": "1",
    "inprop": "url",
}


class Article(BaseModel):
    """The beginning of an article."""

    title: str
    extract: str
    fullurl: str
    description: str | None = None


class _Pages(BaseModel):
    pages: list[Article]


class _Answer(BaseModel):
    # Left out where nothing was found.
    query: _Pages | None = None


async def find_article(client: NetworkClient, topic: str) -> Article:
    """Return the article that fits a topic best; raise ToolError where none does."""
    url = URL(address("encyclopedia_url") + "/w/api.php").with_query(_QUERY | {"gsrsearch": topic})
    status, value = await client.get_json(str(url))
    require_success(status, value, SERVICE, "error")
    fault = value.get("error") if isinstance(value, dict) else None
    if fault:
        # MediaWiki answers 200 with an error, too.
        raise ToolError(f"{SERVICE} can't look up {topic!r}: {_reason(fault)}")
    found = read(_Answer, value, SERVICE).query
    if found is None or not found.pages:
        raise ToolError(f"{SERVICE} has no article about {topic!r}: try other words")
    return found.pages[0]


def _reason(fault: Any) -> str:
    return str(fault.get("info", fault)) if isinstance(fault, dict) else str(fault)
