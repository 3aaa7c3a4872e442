"""What models are called, in events, prices and policies."""

from __future__ import annotations

from typing import Any


def model_name(model: Any) -> str:
    """Return a model's name with its provider's: openai/gpt-5-mini; ours have no provider."""
    provider, name = str(model.provider or ""), str(model.model)
    if provider in ("", "crewmesh") or name.startswith(f"{provider}/"):
        return name
    return f"{provider}/{name}"
