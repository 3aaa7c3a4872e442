"""When a model's call is made again, and how long is waited before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.wait import wait_exponential_jitter

T = TypeVar("T")

TRIES: Final = 5
# Who asks for a longer pause has failed: another model may be there, or another attempt.
LONGEST_WAIT_SECONDS: Final = 60.0

_PASSING_STATUSES: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# Money is to be paid: no pause helps.
_LASTING_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_BACK_OFF = wait_exponential_jitter(multiplier=0.5, max=20.0, jitter=1.0)


def call_with_retries(
    call: Callable[[], T],
    on_retry: Callable[[int, BaseException, float], None],
    deadline: float,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what `call` returns, made again after errors that pass.

    Nobody waits beyond `deadline`, by time.monotonic(). `on_retry` gets the number of the try
    that failed, its error and the seconds to wait. Raises the last error.
    """
    retrying = Retrying(
        retry=retry_if_exception(is_passing),
        stop=lambda state: state.attempt_number >= TRIES or _is_too_long(state, deadline),
        wait=_wait,
        before_sleep=lambda state: on_retry(
            state.attempt_number, _error_of(state), state.upcoming_sleep
        ),
        sleep=sleep,
        reraise=True,
    )
    return retrying(call)


def is_passing(error: BaseException) -> bool:
    """Return whether the same call may succeed later: busy, overloaded or out of reach now."""
    if not isinstance(error, Exception):
        return False
    chain = list(_chain(error))
    if any(str(getattr(e, "code", "")) in _LASTING_CODES for e in chain):
        return False
    statuses = [status for e in chain if (status := status_of(e)) is not None]
    if statuses:
        return statuses[0] in _PASSING_STATUSES
    return any(_is_transport_error(e) for e in chain)


def may_have_cost(error: BaseException) -> bool:
    """Return whether the provider may have charged for a call that ended so.

    It hasn't when it answered with an error, or couldn't be reached.
    """
    chain = list(_chain(error))
    if any(status_of(e) is not None for e in chain):
        return False
    return not any(
        isinstance(e, ConnectionRefusedError) or type(e).__name__ == "ConnectError" for e in chain
    )


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a provider's client tells, if it tells one."""
    response = getattr(error, "response", None)
    candidates = [getattr(error, "status_code", None), getattr(response, "status_code", None)]
    if isinstance(response, dict):  # botocore
        candidates.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    candidates.append(getattr(error, "code", None))  # google
    for status in candidates:
        if isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600:
            return status
    return None


def retry_after(error: BaseException, now: Callable[[], datetime] | None = None) -> float | None:
    """Return how many seconds the provider asks to wait, by its Retry-After header."""
    for e in _chain(error):
        headers = getattr(getattr(e, "response", None), "headers", None)
        if not isinstance(headers, Mapping) or (value := headers.get("retry-after")) is None:
            continue
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            continue
        current = now() if now is not None else datetime.now(UTC)
        return max(0.0, (moment - current).total_seconds())
    return None


def _wait(state: RetryCallState) -> float:
    asked = retry_after(_error_of(state))
    if asked is None:
        return _BACK_OFF(state)
    # So that all who were told the same don't come back at the same time.
    return asked + random.uniform(0, 0.25)  # noqa: S311 - spreads load, no secret


def _is_too_long(state: RetryCallState, deadline: float) -> bool:
    wait = state.upcoming_sleep
    return wait > LONGEST_WAIT_SECONDS or time.monotonic() + wait > deadline


def _error_of(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error


def _is_transport_error(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    # The clients' own, which needn't be imported to be known.
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(
        names & {"TransportError", "APIConnectionError", "HTTPClientError", "ServiceRequestError"}
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what caused it, and so on."""
    seen: set[int] = set()
    current: Any = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
