"""The offline model: answers by rule, without a network, a key or chance."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context

from crewmesh_worker.models.rules.conversation import read_conversation
from crewmesh_worker.models.rules.every import RULES
from crewmesh_worker.models.rules.planner import Call, next_step
from crewmesh_worker.models.rules.structured import fill

_CHUNK = re.compile(r"\S+\s*|\s+")


class OfflineLLM(BaseLLM):
    """Calls the tools that a task names, reads their results, composes its answer from them.

    The same conversation always gets the same answer. `latency_seconds` is how long each
    call takes, spread over its chunks.
    """

    latency_seconds: float = 0.0

    def __init__(self, latency_seconds: float = 0.0) -> None:
        super().__init__(
            model="offline", provider="crewmesh", stream=True, latency_seconds=latency_seconds
        )

    def call(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        """Return the answer's text, or one tool call as a list in OpenAI's form."""
        source = {"from_task": from_task, "from_agent": from_agent}
        with llm_call_context():
            self._emit_call_started_event(messages, tools, callbacks, **source)
            try:
                conversation = read_conversation(messages, tools)
                step = next_step(conversation, RULES)
                if response_model is not None and isinstance(step, str):
                    step = fill(response_model.model_json_schema(), conversation, step)
                step = self._cut(step)
            except Exception as error:
                self._emit_call_failed_event(str(error), **source)
                raise
            usage = _usage(messages, step)
            self._track_token_usage_internal(usage)
            if isinstance(step, Call):
                self._wait(1)
                response: Any = [_tool_call(step, len(conversation.results))]
                kind = LLMCallType.TOOL_CALL
            else:
                self._stream(step, source)
                response, kind = step, LLMCallType.LLM_CALL
            self._emit_call_completed_event(response, kind, usage=usage, **source)
            return response

    def _cut(self, step: Call | str) -> Call | str:
        """Return as much of a step as `max_tokens` allows, as any model would."""
        if self.max_tokens is None or _completion_tokens(step) <= self.max_tokens:
            return step
        text = json.dumps(step.arguments) if isinstance(step, Call) else step
        return text[: int(self.max_tokens) * 4]

    def _stream(self, text: str, source: dict[str, Any]) -> None:
        chunks = _CHUNK.findall(text)
        for chunk in chunks:
            self._wait(1 / len(chunks))
            self._emit_stream_chunk_event(chunk, call_type=LLMCallType.LLM_CALL, **source)

    def _wait(self, part: float) -> None:
        if self.latency_seconds:
            time.sleep(self.latency_seconds * part)

    def supports_function_calling(self) -> bool:
        """Tools are called natively."""
        return True

    def supports_stop_words(self) -> bool:
        """There is no text to stop in."""
        return False

    def get_context_window_size(self) -> int:
        """Nothing is ever too long for rules."""
        return 10_000_000

    def get_input_tokens_count(
        self, messages: Any, tools: Any = None, response_model: Any = None
    ) -> int:
        """Count a token for every four characters."""
        return _tokens(messages)


def _tool_call(call: Call, number: int) -> dict[str, Any]:
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": call.tool, "arguments": json.dumps(call.arguments)},
    }


def _usage(messages: Any, step: Call | str) -> dict[str, int]:
    prompt = _tokens(messages)
    completion = _completion_tokens(step)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _completion_tokens(step: Call | str) -> int:
    return _tokens(json.dumps(step.arguments) if isinstance(step, Call) else step)


def _tokens(messages: str | Sequence[dict[str, Any]]) -> int:
    if isinstance(messages, str):
        return (len(messages) + 3) // 4
    return sum(_tokens(str(message.get("content") or "")) for message in messages)
