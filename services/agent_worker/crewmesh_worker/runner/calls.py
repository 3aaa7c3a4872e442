"""A run's model calls, as its process makes them: models by name, budgets, retries told of."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from crewai import Crew
from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import BaseLLM
from crewai.utilities.agent_utils import extract_tool_call_info

from crewmesh.common.policy import EVERYTHING, Policy
from crewmesh.v1.runner_pb2 import (
    CallRequest,
    CallSettlement,
    CallTerms,
    CallUsage,
    CallVerdict,
    FromRunner,
)
from crewmesh_worker.models.guarded import GuardedModel
from crewmesh_worker.models.limits import (
    LEAST_COMPLETION_TOKENS,
    capped,
    most_prompt_tokens,
    wanted_completion_tokens,
)
from crewmesh_worker.models.names import model_name
from crewmesh_worker.models.retries import may_have_cost
from crewmesh_worker.runner.stream import Ask, Send

# Tells of an event: its type, the task and agent that it is of, its payload.
Tell = Callable[[str, Any, Any, dict[str, Any]], None]

_NO_DEADLINE: Final = 86_400.0


class CallRefused(HookAborted):
    """The run may not call the model: that ends it.

    CrewAI takes it for a deliberate stop, so it tries neither the step nor the task again.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, "budget")
        self.code = code


class ModelCalls:
    """Everything that holds for all model calls of one run; `guard` puts it before them.

    `refused` is set once a call was refused: no further call is asked for, whatever the crew
    does then.
    """

    def __init__(
        self,
        terms: CallTerms,
        make_llm: Callable[[str], BaseLLM],
        ask: Ask,
        send: Send,
        tell: Tell,
        policy: Policy = EVERYTHING,
    ) -> None:
        self.deadline = time.monotonic() + (terms.seconds_left or _NO_DEADLINE)
        self.refused: CallRefused | None = None
        self._budgeted = terms.budgeted
        self._make_llm = make_llm
        self._made: dict[str, BaseLLM] = {}
        self._ask = ask
        self._send = send
        self._tell = tell
        self._policy = policy
        # Whether answers are kept, for a call in them that may have to wait for a person.
        self.remember = False
        # Is told whenever a task's model has answered, by the task's id.
        self.on_answer: Callable[[str], None] = lambda _: None
        self._answers: dict[str, tuple[list[Any], Any, int]] = {}
        self._replays: dict[str, Any] = {}
        self._usage: ContextVar[CallUsage | None] = ContextVar("call_usage", default=None)

    def model(self, names: list[str]) -> GuardedModel:
        """Return the models of these names, in order, as one; raise ModelError if there is none."""
        return GuardedModel(self.models(names), self)

    def models(self, names: list[str]) -> list[BaseLLM]:
        """Return the models of these names; those that can't be made are told of and left out."""
        found: list[BaseLLM] = []
        first_error: Exception | None = None
        for name in names:
            try:
                if name not in self._made:
                    self._made[name] = self._make_llm(name)
                found.append(self._made[name])
            except ValueError as error:
                first_error = first_error or error
                payload = {"call_id": "", "model": name, "error": str(error)}
                self._tell("llm.failed", None, None, payload)
        if not found:
            assert first_error is not None
            raise first_error
        return found

    def guard(self, crew: Crew) -> None:
        """See to it that no model of the crew is called but through here."""
        for holder in (crew, *crew.agents):
            for name in ("llm", "manager_llm", "function_calling_llm", "planning_llm", "chat_llm"):
                model = getattr(holder, name, None)
                if isinstance(model, BaseLLM):
                    setattr(holder, name, self.guarded(model))

    def guarded(self, model: BaseLLM) -> GuardedModel:
        """Return the model as one that is called through here."""
        return model if isinstance(model, GuardedModel) else GuardedModel([model], self)

    def refuse_uncounted(self, model: BaseLLM) -> None:
        """Raise CallRefused for a call that comes past `guard`, if it must be counted or may not be."""
        if isinstance(model, GuardedModel) or self._usage.get() is not None:
            return
        name = model_name(model)
        self._require_allowed(name)
        if self._budgeted:
            raise self.refuse(
                "uncounted_model",
                f"a budget holds, and the model {name} is called in a way that can't be counted: "
                "make it with CrewAI's LLM(...), or give it to an agent of a crew",
            )

    @contextmanager
    def admit(
        self, model: BaseLLM, messages: Any, tools: Any, response_model: Any
    ) -> Iterator[BaseLLM]:
        """Let one call through, with an answer as long as the budgets have room for.

        Raises CallRefused where they have none, and for a model that the policy doesn't allow.
        """
        if self.refused is not None:
            raise self.refused
        name = model_name(model)
        self._require_allowed(name)
        if not self._budgeted:
            yield model
            return
        prompt_tokens = most_prompt_tokens(messages, tools, response_model)
        verdict = self._request(name, prompt_tokens, wanted_completion_tokens(model))
        usage = CallUsage(model=name)
        token = self._usage.set(usage)
        try:
            yield capped(model, verdict.completion_tokens)
        except BaseException as error:
            unknown = usage.total_tokens == 0 and may_have_cost(error)
            self._settle(verdict.reservation_id, usage, unknown=unknown)
            raise
        else:
            # A provider that doesn't say what a call took may have charged for all of it.
            self._settle(verdict.reservation_id, usage, unknown=usage.total_tokens == 0)
        finally:
            self._usage.reset(token)

    def completed(self, usage: CallUsage) -> None:
        """Take note of what the call that is under way here has consumed."""
        current = self._usage.get()
        if current is None:
            return
        for field in ("prompt", "completion", "total", "cached", "cache_creation"):
            name = f"{field}_tokens"
            setattr(current, name, getattr(current, name) + getattr(usage, name))

    def replay(self, task_id: str, messages: list[Any], answer: Any, number: int) -> None:
        """Have a task's next call get its answer of that number again, without a model."""
        self._replays[task_id] = answer
        self._answers[task_id] = (messages, answer, number)

    def replayed(self, task: Any) -> Any:
        """Return, once, what the task's next call is to get."""
        return self._replays.pop(str(task.id), None) if task is not None else None

    def answered(self, task: Any, messages: Any, answer: Any) -> None:
        """Keep the last answer that a task got, and the conversation before it."""
        if task is not None:
            self.on_answer(str(task.id))
        if self.remember and task is not None:
            before = self._answers.get(str(task.id))
            number = before[2] + 1 if before is not None else 1
            self._answers[str(task.id)] = (list(messages), _plain(answer), number)

    def remembered(self, task_id: str) -> tuple[list[Any], Any, int] | None:
        """Return the conversation, the last answer and its number of a task, if it has one."""
        return self._answers.get(task_id)

    def retried(
        self, model: BaseLLM, source: dict[str, Any], number: int, error: BaseException, wait: float
    ) -> None:
        """Tell of a call that will be made again."""
        payload = {
            "model": model_name(model),
            "attempt": number,
            "wait_ms": round(wait * 1000),
            "error": str(error)[:1000],
        }
        self._tell("llm.retried", source["from_task"], source["from_agent"], payload)

    def _request(self, model: str, prompt_tokens: int, wanted: int) -> CallVerdict:
        request = CallRequest(
            model=model,
            prompt_tokens=prompt_tokens,
            completion_tokens=wanted,
            min_completion_tokens=min(wanted, LEAST_COMPLETION_TOKENS),
        )
        verdict = self._ask(FromRunner(call_request=request)).call_verdict
        if not verdict.reservation_id:
            raise self.refuse(verdict.refusal_code, verdict.refusal)
        return verdict

    def _require_allowed(self, name: str) -> None:
        # Of a project's own models, this is the first that anybody hears.
        if faults := self._policy.faults([name], []):
            raise self.refuse("policy_denied", faults[0].message)

    def refuse(self, code: str, message: str) -> CallRefused:
        """Return what ends the run, and let no further call through."""
        self.refused = CallRefused(code, message)
        return self.refused

    def _settle(self, reservation_id: str, usage: CallUsage, *, unknown: bool) -> None:
        settlement = CallSettlement(reservation_id=reservation_id, unknown=unknown, usage=usage)
        self._send(FromRunner(call_settlement=settlement))


def _plain(answer: Any) -> Any:
    """Return an answer as JSON has it: a text, or calls of tools in OpenAI's form."""
    if not isinstance(answer, list):
        return answer if isinstance(answer, str) else str(answer)
    calls = []
    for call in answer:
        if (found := extract_tool_call_info(call)) is not None:
            call_id, name, arguments = found
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, default=str)
            function = {"name": name, "arguments": text}
            calls.append({"id": call_id, "type": "function", "function": function})
    return calls
