"""What calls cost, and the most that they may cost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh.v1.runner_pb2 import CallUsage
from crewmesh_worker.runs.prices import PriceList

OWN = json.dumps(
    {
        "exact": {"input_usd_per_million": 0.1, "output_usd_per_million": 0},
        "openai/my-*": {"input_usd_per_million": 2, "output_usd_per_million": 8},
    }
)


def usage(model: str, prompt: int, completion: int, **more: int) -> CallUsage:
    return CallUsage(model=model, prompt_tokens=prompt, completion_tokens=completion, **more)


@pytest.mark.parametrize(
    ("call", "micros"),
    [
        (usage("offline", 5_000, 5_000), 0),
        (usage("local", 5_000, 5_000), 0),
        # 0.25 and 2 USD a million.
        (usage("openai/gpt-5-mini", 1_000, 100), 450),
        (usage("openai/gpt-5-mini", 1, 0), 1),
        (usage("anthropic/claude-sonnet-4-5", 1_000, 100), 4_500),
        (usage("gemini/gemini-2.5-flash", 1_000, 100), 550),
        (usage("openai/nobody-knows", 1, 1), None),
        (usage("nobody/gpt-5-mini", 1, 1), None),
        (usage("exact", 30, 9), 3),
        (usage("anybody/exact", 30, 9), 3),
        (usage("openai/my-model", 1_000, 100), 2_800),
    ],
)
async def test_a_call_costs_what_the_lists_say_rounded_up(
    call: CallUsage, micros: int | None
) -> None:
    assert await PriceList(OWN).cost(call) == micros


async def test_what_a_provider_has_cached_costs_less() -> None:
    fresh = await PriceList().cost(usage("openai/gpt-5-mini", 10_000, 0))
    cached = await PriceList().cost(usage("openai/gpt-5-mini", 10_000, 0, cached_tokens=9_000))
    assert fresh is not None
    assert cached is not None
    assert cached < fresh


@pytest.mark.parametrize(
    "model", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "openai/my-model", "exact"]
)
@pytest.mark.parametrize(("prompt", "completion"), [(1, 1), (999, 1_001), (123_457, 8_191)])
async def test_no_call_costs_more_than_its_bound(model: str, prompt: int, completion: int) -> None:
    prices = PriceList(OWN)
    bound = await prices.bound(model, prompt)
    assert bound is not None
    answer = -(-completion * bound.completion_micros_per_million // 1_000_000)
    for written in (0, prompt):
        call = usage(model, prompt, completion, cache_creation_tokens=written)
        cost = await prices.cost(call)
        assert cost is not None
        assert cost <= bound.prompt_micros + answer


async def test_an_unknown_model_has_no_bound() -> None:
    assert await PriceList().bound("openai/nobody-knows", 5) is None
    free = await PriceList().bound("offline", 5)
    assert free is not None
    assert (free.prompt_micros, free.completion_micros_per_million) == (0, 0)


@pytest.mark.parametrize(
    "text",
    ["[1]", "{", '{"m": 5}', '{"m": {"input_usd_per_million": -1, "output_usd_per_million": 1}}'],
)
def test_what_is_no_list_of_prices_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="CREWMESH_PRICES"):
        PriceList(text)


def test_prices_are_known_without_a_network() -> None:
    code = (
        "import asyncio, socket, sys\n"
        "def refuse(*_, **__): sys.exit('it reached for the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from crewmesh.v1.runner_pb2 import CallUsage\n"
        "from crewmesh_worker.runs.prices import PriceList\n"
        "call = CallUsage(model='openai/gpt-5-mini', prompt_tokens=1000)\n"
        "print(asyncio.run(PriceList().cost(call)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "250", done.stderr
