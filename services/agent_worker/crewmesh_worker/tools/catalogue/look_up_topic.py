"""The tool that looks something up in an encyclopedia."""

from __future__ import annotations

import json

from pydantic import BaseModel, Field

from crewmesh_worker.tools.external import encyclopedia
from crewmesh_worker.tools.network.run import network

DESCRIPTION = (
    "Looks up a person, place, thing or idea in Wikipedia, and returns how its article begins, "
    "with the article's address to cite."
)
OUTSIDE = True
_MAX_CHARACTERS = 2000


class Arguments(BaseModel):
    """What the model gives."""

    topic: str = Field(
        min_length=1,
        max_length=200,
        description="What to look up, by its name and without the question around it.",
    )


def run(arguments: Arguments) -> str:
    """Return JSON: title, description, text, url, source."""
    article = network().do(lambda client: encyclopedia.find_article(client, arguments.topic))
    return json.dumps(
        {
            "title": article.title,
            "description": article.description,
            "text": article.extract[:_MAX_CHARACTERS],
            "url": article.fullurl,
            "source": f"{encyclopedia.SERVICE} (CC BY-SA 4.0)",
        },
        ensure_ascii=False,
    )
