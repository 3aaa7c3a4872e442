"""A crew that tells every secret it has, in every way that there is; for runner processes."""

from __future__ import annotations

import logging
import os
from typing import Any

from crewai import Crew
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context

from crewmesh_worker.crews.build import build_crew as build_real_crew


class Leaker(BaseLLM):
    """Says what it was given as secrets; fails with them where the task says so."""

    def call(self, messages: Any, *_args: Any, **kwargs: Any) -> str:
        """Print, log and stream them, then answer with them or raise them."""
        task, agent = kwargs.get("from_task"), kwargs.get("from_agent")
        secrets = [value for name, value in os.environ.items() if name.startswith("PLANTED_")]
        said = "\n".join(secrets)
        print(said)  # noqa: T201
        logging.getLogger("leaky").warning("the secrets are %s", secrets)
        with llm_call_context():
            self._emit_call_started_event(messages, from_task=task, from_agent=agent)
            for secret in secrets:
                half = len(secret) // 2
                for piece in (f" {secret} ", f" {secret[:half]}", f"{secret[half:]} "):
                    self._emit_stream_chunk_event(piece, from_task=task, from_agent=agent)
                    print("meanwhile")  # noqa: T201 - the next piece is an event of its own then
            self._emit_call_completed_event(said, LLMCallType.LLM_CALL, task, agent)
        if "fail" in str(messages):
            raise ValueError(said)
        return f"Thought: said.\nFinal Answer: {len(secrets)} secrets: {said}"


def build_crew(definition: dict[str, Any], inputs: dict[str, Any], llm: BaseLLM) -> Crew:
    """Build any crew with that model."""
    return build_real_crew(definition, inputs, Leaker(model="leaker"))
