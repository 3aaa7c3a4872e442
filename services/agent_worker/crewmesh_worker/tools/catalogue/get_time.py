"""The tool that says what time it is."""

from __future__ import annotations

import datetime as dt
import json
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field

from crewmesh_worker.tools.external import open_meteo
from crewmesh_worker.tools.network.run import network
from crewmesh_worker.tools.registry import ToolError

DESCRIPTION = (
    "Says what date and time it is: in a city, whose time zone is looked up, or in UTC without one."
)
OUTSIDE = True


class Arguments(BaseModel):
    """What the model gives."""

    city: str | None = Field(
        default=None,
        min_length=2,
        max_length=100,
        description="The city whose local time is wanted; without one the answer is UTC.",
    )
    country: str | None = Field(
        default=None, max_length=60, description="Its country, when several cities are named so."
    )


def run(arguments: Arguments) -> str:
    """Return JSON: date, time, weekday, timezone and, for a city, its name and country."""
    now = dt.datetime.now(dt.UTC)
    city = arguments.city
    if city is None:
        return json.dumps(_told(now, "UTC"))
    place = network().do(lambda client: open_meteo.find_place(client, city, arguments.country))
    try:
        local = now.astimezone(ZoneInfo(place.timezone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ToolError(f"the time zone {place.timezone!r} of {place.name} isn't known") from error
    told = {"city": place.name, "country": place.country, **_told(local, place.timezone)}
    return json.dumps(told, ensure_ascii=False)


def _told(now: dt.datetime, timezone: str) -> dict[str, str]:
    return {
        "date": now.date().isoformat(),
        "time": f"{now:%H:%M}",
        "weekday": f"{now:%A}",
        "timezone": timezone,
    }
