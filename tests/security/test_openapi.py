"""Schemathesis over the whole OpenAPI: whatever is sent, in the schema or outside of it, no 5xx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings

from tests.conftest import API_KEY
from tests.security.conftest import Front, serving_front
from tests.security.counts import count

HEADERS = {"Authorization": f"Bearer {API_KEY}"}
# Of a call; a run that was accepted stays queued here, and who asks to wait for it does wait.
SECONDS = 90
# Its answer takes a process that knows every tool, and it takes nothing.
NOT_ASKED = {"/v1/tools"}


@pytest.fixture(scope="module")
async def changed_front(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Front]:
    """A front of its own: what is valid is done, limits and policies among it."""
    async with serving_front(postgres, tmp_path_factory.mktemp("changed")) as served:
        yield served


def try_all(url: str, examples: int) -> tuple[int, list[str]]:
    """Send so many examples to each operation; return how many were sent, and what failed."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    sent, failed = 0, []

    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in NOT_ASKED:
            continue

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(case=operation.as_strategy())
        def send(case: Any) -> None:
            nonlocal sent
            sent += 1
            answer = case.call(headers=HEADERS, timeout=SECONDS)
            if answer.status_code >= 500:
                failed.append(f"{case.as_curl_command()}: {answer.status_code} {answer.text[:300]}")

        send()
    return sent, failed


async def check(front: Front, examples: int) -> None:
    sent, failed = await asyncio.to_thread(try_all, front.gateway.url, examples)
    count("schemathesis", sent)
    assert not failed, "\n".join(failed)


async def test_no_call_that_the_schema_leads_to_fails(changed_front: Front) -> None:
    await check(changed_front, 2)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_none_of_many_calls_that_the_schema_leads_to_fails(changed_front: Front) -> None:
    await check(changed_front, 60)
