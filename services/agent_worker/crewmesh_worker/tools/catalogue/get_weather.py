"""The tool that says what the weather is and will be."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field

from crewmesh_worker.tools.external import open_meteo
from crewmesh_worker.tools.network.client import NetworkClient
from crewmesh_worker.tools.network.run import network

DESCRIPTION = (
    "Says what the weather is now in a city, and what it will be day by day from today on: "
    "temperatures, precipitation, wind. In metric units, from Open-Meteo."
)
OUTSIDE = True


class Arguments(BaseModel):
    """What the model gives."""

    city: str = Field(min_length=2, max_length=100, description="The city's name, such as Lisbon.")
    country: str | None = Field(
        default=None,
        max_length=60,
        description="Its country, as a name or a two-letter code, when several cities are named so.",
    )
    days: int = Field(
        default=1, ge=1, le=16, description="How many days, today being the first: 1 to 16."
    )


def run(arguments: Arguments) -> str:
    """Return JSON: place, now, days, units, source."""

    async def look(client: NetworkClient) -> dict[str, Any]:
        place = await open_meteo.find_place(client, arguments.city, arguments.country)
        weather = await open_meteo.forecast(client, place, arguments.days)
        return {"place": place.facts, **weather, "source": open_meteo.ATTRIBUTION}

    return json.dumps(network().do(look), ensure_ascii=False)
