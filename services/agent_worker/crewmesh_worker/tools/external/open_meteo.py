"""Open-Meteo: where places are, and their weather; see https://open-meteo.com/en/docs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from yarl import URL

from crewmesh_worker.tools.external.shapes import read, require_success
from crewmesh_worker.tools.network.client import NetworkClient
from crewmesh_worker.tools.network.settings import address
from crewmesh_worker.tools.registry import ToolError

SERVICE = "Open-Meteo"
ATTRIBUTION = "Weather data by Open-Meteo.com (CC BY 4.0)"
_CANDIDATES = 10
_CURRENT = (
    "temperature_2m",
    "apparent_temperature",
    "relative_humidity_2m",
    "precipitation",
    "weather_code",
    "wind_speed_10m",
)
_DAILY = (
    "weather_code",
    "temperature_2m_min",
    "temperature_2m_max",
    "precipitation_sum",
    "precipitation_probability_max",
    "wind_speed_10m_max",
)
# World Meteorological Organization, code table 4677, as far as Open-Meteo uses it.
_CODES = {
    0: "clear sky", 1: "mainly clear", 2: "partly cloudy", 3: "overcast",
    45: "fog", 48: "depositing rime fog",
    51: "light drizzle", 53: "moderate drizzle", 55: "dense drizzle",
    56: "light freezing drizzle", 57: "dense freezing drizzle",
    61: "slight rain", 63: "moderate rain", 65: "heavy rain",
    66: "light freezing rain", 67: "heavy freezing rain",
    71: "slight snowfall", 73: "moderate snowfall", 75: "heavy snowfall", 77: "snow grains",
    80: "slight rain showers", 81: "moderate rain showers", 82: "violent rain showers",
    85: "slight snow showers", 86: "heavy snow showers",
    95: "thunderstorm", 96: "thunderstorm with slight hail", 99: "thunderstorm with heavy hail",
}  # fmt: skip


class Place(BaseModel):
    """A place that a name means; what isn't known is None."""

    name: str
    latitude: float
    longitude: float
    timezone: str
    country: str | None = None
    country_code: str | None = None
    admin1: str | None = None
    population: int | None = None
    elevation: float | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What tools tell of it, without what isn't known."""
        shown = self.model_dump(exclude={"admin1", "country_code"}, exclude_none=True)
        return shown | ({"region": self.admin1} if self.admin1 else {})


class _Found(BaseModel):
    # Left out where nothing was found.
    results: list[Place] = []


class _Forecast(BaseModel):
    timezone: str
    current: dict[str, Any]
    current_units: dict[str, str]
    daily: dict[str, list[Any]]
    daily_units: dict[str, str]


async def find_place(client: NetworkClient, name: str, country: str | None) -> Place:
    """Return the place that is most likely meant.

    `country` is a name, a two-letter code or a region ("Paris, Texas"). Raises ToolError where there is no such place.
    """
    query = {"name": name, "count": str(_CANDIDATES), "language": "en", "format": "json"}
    url = URL(address("geocoding_url") + "/v1/search").with_query(query)
    status, value = await client.get_json(str(url))
    require_success(status, value, SERVICE, "reason")
    places = read(_Found, value, SERVICE).results
    if country:
        places = [place for place in places if _is_in(place, country)]
    if not places:
        where = f" in {country}" if country else ""
        raise ToolError(f"no place named {name!r} is known{where}: check the spelling")
    return places[0]


async def forecast(client: NetworkClient, place: Place, days: int) -> dict[str, Any]:
    """Return the weather there: now, and day by day from today on, in metric units."""
    query = {
        "latitude": str(place.latitude),
        "longitude": str(place.longitude),
        "timezone": place.timezone,
        "forecast_days": str(days),
        "current": ",".join(_CURRENT),
        "daily": ",".join(_DAILY),
    }
    url = URL(address("weather_url") + "/v1/forecast").with_query(query)
    status, value = await client.get_json(str(url))
    require_success(status, value, SERVICE, "reason")
    answer = read(_Forecast, value, SERVICE)
    dates = answer.daily.get("time", [])
    return {
        "now": _told({"time": answer.current.get("time")}, answer.current, _CURRENT),
        "days": [
            _told({"date": date}, {k: v[i] for k, v in answer.daily.items()}, _DAILY)
            for i, date in enumerate(dates)
        ],
        "units": {
            "temperature": answer.current_units.get("temperature_2m", "°C"),
            "precipitation": answer.daily_units.get("precipitation_sum", "mm"),
            "wind": answer.current_units.get("wind_speed_10m", "km/h"),
        },
    }


_NAMES = {
    "temperature_2m": "temperature",
    "apparent_temperature": "feels_like",
    "relative_humidity_2m": "humidity_percent",
    "temperature_2m_min": "min",
    "temperature_2m_max": "max",
    "precipitation_sum": "precipitation",
    "precipitation_probability_max": "precipitation_percent",
    "wind_speed_10m": "wind",
    "wind_speed_10m_max": "wind",
}


def _told(when: dict[str, Any], values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    code = values.get("weather_code")
    told = {**when, "weather": _CODES.get(code, "unknown") if code is not None else "unknown"}
    for key in keys:
        if key != "weather_code" and values.get(key) is not None:
            told[_NAMES.get(key, key)] = values[key]
    return told


def _is_in(place: Place, country: str) -> bool:
    wanted = country.strip().casefold()
    known = (place.country, place.country_code, place.admin1)
    return wanted in {name.casefold() for name in known if name}
