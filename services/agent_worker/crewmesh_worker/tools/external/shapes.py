"""Answers of external APIs, checked before anything is made of them."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from crewmesh_worker.tools.network.errors import UnreachableError, UnusableError

Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], value: Any, service: str) -> Shape:
    """Return the answer as its shape; raise UnusableError for anything else."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the whole"
        raise UnusableError(
            f"{service} answered in a form that isn't known here ({place}: {fault['msg']}): "
            "report that this can't be looked up now"
        ) from error


def require_success(status: int, value: Any, service: str, reason_key: str) -> None:
    """Raise UnreachableError with the service's own reason unless the status is a success."""
    if status < 400:
        return
    reason = value.get(reason_key) if isinstance(value, dict) else None
    advice = "it gets too many requests: try again later" if status == 429 else "try again later"
    raise UnreachableError(
        f"{service} answered {status}{f' ({reason})' if reason else ''}: "
        f"{advice if status >= 429 else 'correct the arguments'}"
    )
