"""What the process that serves the model needs to know."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class LocalModelSettings(BaseModel):
    """Settings of one model server.

    A prompt and its answer have at most `context_tokens` together, an answer `max_tokens`.
    After `max_tool_calls` calls for one request the model has to answer: one this small might
    go on calling for ever.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path
    context_tokens: int = Field(default=4096, ge=512)
    max_tokens: int = Field(default=512, ge=1)
    threads: int = Field(default=2, ge=1)
    max_tool_calls: int = Field(default=4, ge=0)
