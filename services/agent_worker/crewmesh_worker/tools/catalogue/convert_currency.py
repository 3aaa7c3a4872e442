"""The tool that converts an amount of money."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from crewmesh_worker.tools.external import frankfurter
from crewmesh_worker.tools.network.run import network

DESCRIPTION = (
    "Converts an amount of money into other currencies at the newest reference rates of central "
    "banks, and says the rates and their date."
)
OUTSIDE = True
Code = Annotated[str, Field(pattern=r"^[A-Za-z]{3}$"), AfterValidator(str.upper)]


class Arguments(BaseModel):
    """What the model gives."""

    source: Code = Field(description="The currency that the amount is in, such as EUR.")
    targets: list[Code] = Field(
        min_length=1, max_length=20, description="The currencies to convert it into."
    )
    amount: float = Field(
        default=1.0, gt=0, le=1e15, allow_inf_nan=False, description="How much; 1 by default."
    )


def run(arguments: Arguments) -> str:
    """Return JSON: amount, currency, date, converted, source."""
    targets = list(dict.fromkeys(arguments.targets))
    rates = network().do(lambda client: frankfurter.find_rates(client, arguments.source, targets))
    converted = [
        {
            "currency": rate.quote,
            "amount": round(arguments.amount * rate.rate, 4),
            "rate": rate.rate,
            "date": rate.date.isoformat(),
        }
        for rate in rates
    ]
    return json.dumps(
        {
            "amount": arguments.amount,
            "currency": arguments.source,
            "converted": converted,
            "source": f"{frankfurter.SERVICE}, reference rates of central banks",
        }
    )
