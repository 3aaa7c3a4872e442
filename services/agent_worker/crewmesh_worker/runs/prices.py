"""What model calls cost, in millionths of a US dollar, from the price list of genai-prices.

The list comes with the package: nothing is fetched. A mesh's own prices, for private models,
go before it: `{"my-model": {"input_usd_per_million": 1, "output_usd_per_million": 4}}`, the
names being patterns such as `openai/my-*`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from crewmesh.common.errors import InvalidInputError
from crewmesh.v1.runner_pb2 import CallUsage

# They run on this machine.
FREE_MODELS: Final = frozenset({"offline", "local"})

_MILLION: Final = 1_000_000
# Where CrewAI's name for a provider isn't the list's.
_PROVIDERS: Final = {"claude": "anthropic", "azure_openai": "azure", "gemini": "google"}


class OwnPrice(BaseModel):
    """What a mesh says that a model costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_usd_per_million: Decimal = Field(ge=0, allow_inf_nan=False)
    output_usd_per_million: Decimal = Field(ge=0, allow_inf_nan=False)


@dataclass(frozen=True)
class Bound:
    """The most that a call may cost: its prompt, and a million tokens of its answer."""

    prompt_micros: int
    completion_micros_per_million: int


class PriceList:
    """Prices by model. `own` is YAML or JSON; raises InvalidInputError for anything else."""

    def __init__(self, own: str = "") -> None:
        self._own = _parse(own)

    async def cost(self, usage: CallUsage) -> int | None:
        """Return what a call cost, rounded up; None where the model's price isn't known."""
        if usage.model in FREE_MODELS:
            return 0
        if (own := self._find_own(usage.model)) is not None:
            return math.ceil(
                usage.prompt_tokens * own.input_usd_per_million
                + usage.completion_tokens * own.output_usd_per_million
            )
        # Importing the list takes more than a second, and most meshes never need it.
        return await asyncio.to_thread(_listed_cost, usage)

    async def bound(self, model: str, prompt_tokens: int) -> Bound | None:
        """Return the most that a call may cost; None where the model's price isn't known."""
        if model in FREE_MODELS:
            return Bound(0, 0)
        if (own := self._find_own(model)) is not None:
            return Bound(
                math.ceil(prompt_tokens * own.input_usd_per_million),
                math.ceil(own.output_usd_per_million * _MILLION),
            )
        return await asyncio.to_thread(_listed_bound, model, prompt_tokens)

    def _find_own(self, model: str) -> OwnPrice | None:
        bare = model.partition("/")[2]
        for pattern, price in self._own.items():
            if fnmatchcase(model, pattern) or fnmatchcase(bare, pattern):
                return price
        return None


def _parse(text: str) -> Mapping[str, OwnPrice]:
    try:
        return TypeAdapter(dict[str, OwnPrice]).validate_python(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidInputError(
            "CREWMESH_PRICES: not prices by model, such as "
            '{"my-model": {"input_usd_per_million": 1, "output_usd_per_million": 4}}: '
            f"{error}"
        ) from error


def _listed_cost(usage: CallUsage) -> int | None:
    return _listed(
        usage.model,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens or None,
        cache_write_tokens=usage.cache_creation_tokens or None,
    )


def _listed_bound(model: str, prompt_tokens: int) -> Bound | None:
    prompt = _listed(model, input_tokens=prompt_tokens, output_tokens=0)
    with_answer = _listed(model, input_tokens=prompt_tokens, output_tokens=_MILLION)
    if prompt is None or with_answer is None:
        return None
    # Writing to a provider's cache may cost more than reading afresh.
    written = _listed(
        model, input_tokens=prompt_tokens, output_tokens=0, cache_write_tokens=prompt_tokens
    )
    return Bound(max(prompt, written or 0), with_answer - prompt + 1)


def _listed(model: str, **tokens: Any) -> int | None:
    from genai_prices import Usage, calc_price

    provider, _, name = model.partition("/")
    try:
        price = calc_price(
            Usage(**tokens), model_ref=name, provider_id=_PROVIDERS.get(provider, provider)
        )
    except (LookupError, ValueError):
        return None
    return math.ceil(Decimal(price.total_price) * _MILLION)
