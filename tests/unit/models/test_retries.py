"""Which errors pass, how long is waited, and when nobody waits any more."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import openai
import pytest

from crewmesh_worker.models.retries import (
    TRIES,
    call_with_retries,
    is_passing,
    may_have_cost,
    retry_after,
)

REQUEST = httpx.Request("POST", "http://model.example/v1")


def status_error(status: int, code: str | None = None, **headers: str) -> Exception:
    response = httpx.Response(status, headers=headers, request=REQUEST)
    return openai.APIStatusError("no", response=response, body={"code": code})


def wrapped(cause: Exception) -> Exception:
    try:
        raise ConnectionError("failed to connect") from cause
    except ConnectionError as error:
        return error


class ThrottlingError(Exception):
    """As botocore raises it."""

    def __init__(self) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": 429}}


CONNECT = openai.APIConnectionError(request=REQUEST)
CONNECT.__cause__ = httpx.ConnectError("refused")
TIMEOUT = openai.APITimeoutError(request=REQUEST)


@pytest.mark.parametrize(
    ("error", "passes", "costs"),
    [
        (status_error(429), True, False),
        (status_error(500), True, False),
        (status_error(503), True, False),
        (status_error(529), True, False),
        (status_error(408), True, False),
        (status_error(400), False, False),
        (status_error(401), False, False),
        (status_error(404), False, False),
        (status_error(429, "insufficient_quota"), False, False),
        (wrapped(CONNECT), True, False),
        (wrapped(TIMEOUT), True, True),
        (TIMEOUT, True, True),
        (httpx.RemoteProtocolError("cut off"), True, True),
        (ConnectionResetError(), True, True),
        (ThrottlingError(), True, False),
        (ValueError("not JSON"), False, True),
        (KeyboardInterrupt(), False, True),
    ],
)
def test_what_passes_is_tried_again_and_what_was_refused_cost_nothing(
    error: BaseException, passes: bool, costs: bool
) -> None:
    assert is_passing(error) == passes
    assert may_have_cost(error) == costs


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("Mon, 23 Nov 2026 06:39:30 GMT", 30),
        ("Mon, 23 Nov 2020 06:39:30 GMT", 0),
        ("soon", None),
    ],
)
def test_the_provider_says_how_long_to_wait(value: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 23, 6, 39, tzinfo=UTC)
    error = wrapped(status_error(429, **{"Retry-After": value}))
    assert retry_after(error, lambda: now) == seconds


class Calls:
    """Fails as often as it has errors, and records what is waited."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0
        self.told: list[tuple[int, float]] = []
        self.waited: list[float] = []

    def call(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def run(self, seconds_left: float = 600) -> str:
        return call_with_retries(
            self.call,
            lambda number, _, wait: self.told.append((number, wait)),
            time.monotonic() + seconds_left,
            self.waited.append,
        )


def test_pauses_grow_and_each_is_told() -> None:
    calls = Calls(*[status_error(500)] * 3)
    assert calls.run() == "done"
    assert [number for number, _ in calls.told] == [1, 2, 3]
    assert [wait for _, wait in calls.told] == calls.waited
    for wait, base in zip(calls.waited, (0.5, 1, 2), strict=True):
        assert base <= wait <= base + 1


def test_the_providers_pause_goes_before_ours() -> None:
    calls = Calls(status_error(429, **{"Retry-After": "9"}))
    assert calls.run() == "done"
    assert 9 <= calls.waited[0] <= 9.25


@pytest.mark.parametrize(("asked", "seconds_left"), [("61", 600), ("3600", 10_000), ("9", 8)])
def test_nobody_waits_too_long(asked: str, seconds_left: float) -> None:
    calls = Calls(status_error(429, **{"Retry-After": asked}))
    with pytest.raises(openai.APIStatusError):
        calls.run(seconds_left)
    assert calls.waited == []


def test_a_call_is_given_up_after_so_many_tries() -> None:
    calls = Calls(*[status_error(500)] * 10)
    with pytest.raises(openai.APIStatusError):
        calls.run()
    assert calls.made == TRIES


def test_what_does_not_pass_is_not_tried_again() -> None:
    calls = Calls(status_error(401))
    with pytest.raises(openai.APIStatusError):
        calls.run()
    assert (calls.made, calls.told) == (1, [])


def test_an_error_of_no_known_shape_has_no_pause() -> None:
    error = RuntimeError("x")
    error.response = SimpleNamespace(headers=None)  # type: ignore[attr-defined]
    assert retry_after(error) is None
