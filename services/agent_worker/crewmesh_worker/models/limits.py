"""How many tokens a model call may take: bounds before it, and a cap on its answer."""

from __future__ import annotations

import json
from typing import Any, Final

from crewai.llms.base_llm import BaseLLM

# What an answer is allowed where nobody says.
WANTED_COMPLETION_TOKENS: Final = 8_192
# With fewer, an answer is cut before it says anything.
LEAST_COMPLETION_TOKENS: Final = 256

# Roles and separators, by any provider's format.
_TOKENS_A_MESSAGE: Final = 16
# What providers put before tools.
_TOKENS_FOR_TOOLS: Final = 1_000


def most_prompt_tokens(messages: Any, tools: Any = None, response_model: Any = None) -> int:
    """Return a number of tokens that no provider's count of the prompt exceeds.

    A token stands for at least one byte of text in every tokenizer that is made of bytes. That
    is several times more than a prompt has, so that what is reserved is always enough.
    """
    count = 1 if isinstance(messages, str) else len(messages)
    tokens = _bytes_of(messages) + count * _TOKENS_A_MESSAGE
    if tools:
        tokens += _bytes_of(tools) + _TOKENS_FOR_TOOLS
    if response_model is not None:
        tokens += _bytes_of(response_model.model_json_schema()) + _TOKENS_FOR_TOOLS
    return tokens


def wanted_completion_tokens(model: BaseLLM) -> int:
    """Return how long an answer the model would be allowed to give."""
    return int(model._effective_max_tokens() or WANTED_COMPLETION_TOKENS)


def capped(model: BaseLLM, tokens: int) -> BaseLLM:
    """Return the model, its answers being at most so long. The one given isn't changed."""
    copy = model.model_copy()
    fields = type(copy).model_fields
    if "max_output_tokens" in fields:  # Gemini
        copy.max_output_tokens = tokens
    elif "max_completion_tokens" in fields and not _takes_max_tokens(copy):
        copy.max_completion_tokens = tokens
        copy.max_tokens = None
    else:
        copy.max_tokens = tokens
    return copy


def _takes_max_tokens(model: BaseLLM) -> bool:
    """Return whether the server knows the older name only, as OpenAI's own newest models don't."""
    on_compatible_server = getattr(model, "_on_compatible_server", None)
    return on_compatible_server is None or bool(on_compatible_server())


def _bytes_of(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    return len(json.dumps(value, ensure_ascii=False, default=str).encode(errors="replace"))
