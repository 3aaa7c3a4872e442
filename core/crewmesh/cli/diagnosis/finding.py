"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`state` is ok, warning (it works, but) or fault; `next_step` is empty when it is ok."""

    check: str
    state: Literal["ok", "warning", "fault"]
    detail: str
    next_step: str = ""


def ok(check: str, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, next_step: str) -> Finding:
    """Return that it works, but may not stay so."""
    return Finding(check, "warning", detail, next_step)


def fault(check: str, detail: str, next_step: str) -> Finding:
    """Return that it doesn't work."""
    return Finding(check, "fault", detail, next_step)
