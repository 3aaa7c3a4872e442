"""A throw-away crew that takes a new runner through every path of a real one once."""

from __future__ import annotations

import json
from typing import Any

from crewai import Agent, Crew, Task
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import BaseTool


class _EchoTool(BaseTool):
    name: str = "echo"
    description: str = "Returns the text."

    def _run(self, text: str) -> str:
        return text


class _InstantModel(BaseLLM):
    """Calls the tool once, then answers; takes no time and no network."""

    def call(
        self, messages: Any, tools: Any = None, *_: Any, from_task: Any = None, **__: Any
    ) -> Any:
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=from_task)
            self._emit_stream_chunk_event("warm", from_task=from_task)
            self._emit_call_completed_event("warm", LLMCallType.LLM_CALL, from_task=from_task)
        if messages[-1]["role"] == "tool":
            return "warm"
        function = {"name": "echo", "arguments": json.dumps({"text": "warm"})}
        return [{"id": "1", "type": "function", "function": function}]

    def supports_function_calling(self) -> bool:
        return True

    def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
        return 0


def warm_up_crew() -> Crew:
    """Return a crew of one task with one tool, whose model takes no time."""
    agent = Agent(
        role="warm-up",
        goal="Warm up.",
        backstory="-",
        llm=_InstantModel(model="instant"),
        tools=[_EchoTool()],
    )
    task = Task(name="warm-up", description="Warm up.", expected_output="-", agent=agent)
    return Crew(agents=[agent], tasks=[task])
