"""What a flow has come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class FlowOutput:
    """A flow's result with the fields that a crew's has."""

    raw: str
    json_dict: Any = None
    pydantic: Any = None


def flow_output(result: Any, flow: Any) -> FlowOutput:
    """Return the result of the flow's last method, or its state where that returned nothing."""
    if hasattr(result, "feedback") and hasattr(result, "output"):
        result = result.output  # of a review
    if result is None:
        state = flow._state
        data = state.model_dump(mode="json") if isinstance(state, BaseModel) else dict(state)
        data.pop("id", None)
        return FlowOutput(_text(data), data)
    if hasattr(result, "raw"):  # of a crew or an agent
        return FlowOutput(
            str(result.raw),
            getattr(result, "json_dict", None),
            getattr(result, "pydantic", None),
        )
    if isinstance(result, BaseModel | dict | list):
        return FlowOutput(_text(result), result)
    return FlowOutput(str(result))


def _text(value: Any) -> str:
    from pydantic_core import to_json

    return to_json(value, fallback=str, inf_nan_mode="null", indent=2).decode()
