"""Frankfurter: exchange rates of central banks; see https://frankfurter.dev."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, RootModel
from yarl import URL

from crewmesh_worker.tools.external.shapes import read, require_success
from crewmesh_worker.tools.network.client import NetworkClient
from crewmesh_worker.tools.network.settings import address
from crewmesh_worker.tools.registry import ToolError

SERVICE = "Frankfurter"


class Rate(BaseModel):
    """What one unit of `base` is in `quote`; both are ISO 4217 codes."""

    date: dt.date
    base: str
    quote: str
    rate: float


class _Rates(RootModel[list[Rate]]):
    pass


async def find_rates(client: NetworkClient, base: str, quotes: list[str]) -> list[Rate]:
    """Return the newest rates, in the order of `quotes`; raise ToolError where one is missing."""
    query = {"base": base, "quotes": ",".join(quotes)}
    url = URL(address("currency_url") + "/v2/rates").with_query(query)
    status, value = await client.get_json(str(url))
    if status in (404, 422):
        raise ToolError(
            f"{SERVICE} has no rates from {base} to {', '.join(quotes)}: give ISO 4217 codes, such "
            "as EUR, USD or JPY"
        )
    require_success(status, value, SERVICE, "message")
    rates = {rate.quote: rate for rate in read(_Rates, value, SERVICE).root}
    missing = [quote for quote in quotes if quote not in rates]
    if missing:
        raise ToolError(f"{SERVICE} has no rate for {', '.join(missing)}: check the codes")
    return [rates[quote] for quote in quotes]
