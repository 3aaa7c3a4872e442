"""All of this project that speaks to Crewmesh."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
from django.conf import settings

# Streams are silent for up to 15 s, then a comment comes.
_SILENCE_SECONDS = 30.0


class CrewmeshUnavailableError(Exception):
    """The mesh couldn't be asked, or refused; the message is for people."""


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=settings.CREWMESH_URL,
        headers={"Authorization": f"Bearer {settings.CREWMESH_API_KEY}"},
        timeout=10.0,
    )


async def _ask(method: str, path: str, **options: Any) -> dict[str, Any]:
    try:
        async with _client() as client:
            answer = await client.request(method, path, **options)
    except httpx2.HTTPError as error:
        raise CrewmeshUnavailableError(
            "the crews can't be reached; try again in a moment"
        ) from error
    if answer.is_error:
        # Crewmesh's problem details say what is wrong, and are made to be shown.
        raise CrewmeshUnavailableError(answer.json().get("detail", f"status {answer.status_code}"))
    body: dict[str, Any] = answer.json()
    return body


async def start_run(crew: str, inputs: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
    """Start a run and return it; the same key again returns the same run."""
    return await _ask(
        "POST",
        "/v1/runs",
        json={"crew": crew, "inputs": inputs},
        headers={"Idempotency-Key": idempotency_key},
    )


async def get_run(run_id: str) -> dict[str, Any]:
    """Return a run as it is now."""
    return await _ask("GET", f"/v1/runs/{run_id}")


async def cancel_run(run_id: str) -> dict[str, Any]:
    """Have a run ended; once more does no harm."""
    return await _ask("POST", f"/v1/runs/{run_id}/cancel")


async def follow_run(run_id: str, last_event_id: str) -> AsyncIterator[bytes]:
    """Yield a run's server-sent events after one that was seen, as they come, to the last.

    Ends early when the mesh can't be reached any more: the browser comes again by itself, with the
    number of the last event that it has seen.
    """
    headers = {"Accept": "text/event-stream"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    try:
        async with (
            _client() as client,
            client.stream(
                "GET", f"/v1/runs/{run_id}/events", headers=headers, timeout=_SILENCE_SECONDS
            ) as answer,
        ):
            async for chunk in answer.aiter_raw():
                yield chunk
    except httpx2.HTTPError:
        return
