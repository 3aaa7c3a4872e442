"""The external APIs as local servers: answers of the shapes that their documentation shows."""

from __future__ import annotations

import json
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

LISBON = {
    "id": 2267057, "name": "Lisbon", "latitude": 38.71667, "longitude": -9.13333,
    "elevation": 45.0, "feature_code": "PPLC", "country_code": "PT", "admin1_id": 2267056,
    "timezone": "Europe/Lisbon", "population": 517802, "country_id": 2264397,
    "country": "Portugal", "admin1": "Lisbon",
}  # fmt: skip
LISBON_MAINE = {
    "id": 4969398, "name": "Lisbon", "latitude": 44.03146, "longitude": -70.10449,
    "elevation": 63.0, "feature_code": "PPL", "country_code": "US", "timezone": "America/New_York",
    "population": 9475, "country": "United States", "admin1": "Maine", "admin2": "Androscoggin",
}  # fmt: skip
TOKYO = {
    "id": 1850147, "name": "Tokyo", "latitude": 35.6895, "longitude": 139.69171, "elevation": 44.0,
    "feature_code": "PPLC", "country_code": "JP", "timezone": "Asia/Tokyo", "population": 9733276,
    "country": "Japan", "admin1": "Tokyo",
}  # fmt: skip
PLACES = {"lisbon": [LISBON, LISBON_MAINE], "tokyo": [TOKYO]}
DAYS = ["2026-11-24", "2026-11-25", "2026-11-26", "2026-11-27", "2026-11-28", "2026-11-29",
        "2026-11-30"]  # fmt: skip
CODES, CHANCES = [3, 61, 80, 0, 2, 45, 95], [10, 85, 60, 0, 5, 20, 90]
ADA = {
    "pageid": 974, "ns": 0, "title": "Ada Lovelace", "index": 1,
    "extract": "Augusta Ada King, Countess of Lovelace (1815 - 1852) was an English mathematician "
    "and writer.\nShe was the first to recognise what the machine could do.",
    "description": "English mathematician (1815-1852)", "contentmodel": "wikitext",
    "pagelanguage": "en", "fullurl": "https://en.wikipedia.org/wiki/Ada_Lovelace",
}  # fmt: skip
RATES = {"USD": 1.1562, "JPY": 181.35, "GBP": 0.8801}


def serve_apis(server: HTTPServer) -> None:
    """Have the server answer as Open-Meteo, Wikipedia and Frankfurter do."""
    server.expect_request("/v1/search").respond_with_handler(_search)
    server.expect_request("/v1/forecast").respond_with_handler(_forecast)
    server.expect_request("/w/api.php").respond_with_handler(_article)
    server.expect_request("/v2/rates").respond_with_handler(_rates)


def _search(request: Request) -> Response:
    found = PLACES.get(request.args["name"].lower())
    answer: dict[str, Any] = {"results": found} if found else {}
    return _json(answer | {"generationtime_ms": 0.7})


def _forecast(request: Request) -> Response:
    days = int(request.args["forecast_days"])
    if not 0 <= days <= 16:
        reason = "Forecast days is invalid. Allowed range 0 to 16."
        return _json({"error": True, "reason": reason}, 400)
    count = min(days, len(DAYS))
    return _json(
        {
            "latitude": float(request.args["latitude"]),
            "longitude": float(request.args["longitude"]),
            "generationtime_ms": 0.1,
            "utc_offset_seconds": 0,
            "timezone": request.args["timezone"],
            "timezone_abbreviation": "WET",
            "elevation": 45.0,
            "current_units": {"time": "iso8601", "interval": "seconds", "temperature_2m": "°C",
                              "apparent_temperature": "°C", "relative_humidity_2m": "%",
                              "precipitation": "mm", "weather_code": "wmo code",
                              "wind_speed_10m": "km/h"},
            "current": {"time": "2026-11-24T12:00", "interval": 900, "temperature_2m": 17.4,
                        "apparent_temperature": 16.2, "relative_humidity_2m": 68,
                        "precipitation": 0.0, "weather_code": 2, "wind_speed_10m": 11.9},
            "daily_units": {"time": "iso8601", "weather_code": "wmo code",
                            "temperature_2m_min": "°C", "temperature_2m_max": "°C",
                            "precipitation_sum": "mm", "precipitation_probability_max": "%",
                            "wind_speed_10m_max": "km/h"},
            "daily": {"time": DAYS[:count], "weather_code": CODES[:count],
                      "temperature_2m_min": [12.1 + n for n in range(count)],
                      "temperature_2m_max": [18.3 + n for n in range(count)],
                      "precipitation_sum": [0.0, 6.4, 2.2, 0.0, 0.0, 0.1, 12.5][:count],
                      "precipitation_probability_max": CHANCES[:count],
                      "wind_speed_10m_max": [15.5 + n for n in range(count)]},
        }
    )  # fmt: skip


def _article(request: Request) -> Response:
    if request.args["gsrsearch"].lower() == "ada lovelace":
        return _json({"batchcomplete": True, "query": {"pages": [ADA]}})
    if request.args["gsrsearch"] == "broken":
        return _json({"error": {"code": "badvalue", "info": "Unrecognized value."}})
    return _json({"batchcomplete": True})


def _rates(request: Request) -> Response:
    if request.args["base"] != "EUR":
        return _json({"message": "unprocessable"}, 422)
    return _json(
        [
            {"date": "2026-11-23", "base": "EUR", "quote": quote, "rate": RATES[quote]}
            for quote in request.args["quotes"].split(",")
            if quote in RATES
        ]
    )


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json; charset=utf-8")
