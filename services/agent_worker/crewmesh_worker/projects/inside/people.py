"""A flow that waits for a person, without a process."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from crewai.flow.async_feedback import ConsoleProvider, HumanFeedbackPending

from crewmesh.v1.run_store_pb2 import HumanAnswer
from crewmesh_worker.projects.inside.journal import (
    CallKey,
    WaitingRecord,
    current_call,
    state_values,
)

_YES: Final = re.compile(r"^(approv|accept|yes|ok|confirm|publish|continue|proceed)", re.IGNORECASE)
_NO: Final = re.compile(
    r"^(reject|den|declin|refus|disapprov|no\b|needs?_|revis|chang)", re.IGNORECASE
)
_NOT_APPROVED: Final = "This is not approved."


class FlowPaused(BaseException):
    """The flow needs an answer to go on."""

    def __init__(self, record: WaitingRecord, payload: dict[str, Any]) -> None:
        super().__init__("waiting for a person")
        self.record = record
        self.payload = payload


class People:
    """Whom a flow asks: gives the answer that this attempt came with, once; else stops the run."""

    def __init__(self, question: WaitingRecord | None, answer: HumanAnswer | None) -> None:
        self._question = question if answer is not None else None
        self._answer = answer

    def answers_of(self, key: CallKey) -> list[str]:
        """Return the answers to the questions that the call asks first."""
        question = self._question
        if question is None or question.kind != "ask" or question.call != key:
            return []
        assert self._answer is not None
        return [*question.answers, self._answer.text]

    def feedback_on(self, key: CallKey) -> HumanAnswer | None:
        """Return the person's word on what the call returned, if it has come."""
        question = self._question
        if question is None or question.kind != "feedback" or question.call != key:
            return None
        return self._answer

    def request_input(self, message: str, flow: Any, metadata: Any = None) -> str:
        """Answer `flow.ask(message)`; CrewAI's own provider would read from the terminal."""
        call = current_call.get()
        if call is None:
            raise RuntimeError("flow.ask() is answered in a method of the flow only")
        call.asked += 1
        if call.asked <= len(call.answers):
            return call.answers[call.asked - 1]
        record = WaitingRecord("ask", call.key, state_values(flow), answers=list(call.answers))
        raise FlowPaused(record, {"prompt": message})


class Feedback:
    """Stands in for the provider of one `@human_feedback`; `own` is the project's."""

    def __init__(self, people: People, own: Any) -> None:
        self._people = people
        self._own = own

    def request_feedback(self, context: Any, flow: Any) -> Any:
        """Return what the person said of the method's output, or stop the run."""
        call = current_call.get()
        assert call is not None
        if (answer := self._people.feedback_on(call.key)) is not None:
            return feedback_text(answer, context.emit or ())
        if self._own is not None and not isinstance(self._own, ConsoleProvider):
            try:
                return self._own.request_feedback(context, flow)
            except HumanFeedbackPending:
                pass  # it has told whom it had to
        raise pause_for_feedback(context, call.key, flow)


def pause_for_feedback(context: Any, key: CallKey, flow: Any) -> FlowPaused:
    """Return what stops a flow that is to be reviewed."""
    record = WaitingRecord("feedback", key, state_values(flow), body=context.method_output)
    payload: dict[str, Any] = {"prompt": context.message, "draft": str(context.method_output)}
    if context.emit:
        payload["options"] = list(context.emit)
    return FlowPaused(record, payload)


def feedback_text(answer: HumanAnswer, outcomes: Sequence[str]) -> str:
    """Return a person's answer as feedback: their words, or one of the outcomes that fits.

    "" is CrewAI's word for no objection: it takes the default outcome, or the first.
    """
    text = answer.text.strip()
    if text or not answer.HasField("approve"):
        return text
    wanted, unwanted = (_YES, _NO) if answer.approve else (_NO, _YES)
    fitting = [outcome for outcome in outcomes if wanted.match(outcome)]
    if len(fitting) == 1:
        return fitting[0]
    rest = [outcome for outcome in outcomes if not unwanted.match(outcome)]
    if len(rest) == 1 and len(outcomes) > 1:
        return rest[0]
    return "" if answer.approve else _NOT_APPROVED


def exact_outcome(
    ask_model: Callable[..., str],
) -> Callable[..., str]:
    """Return how feedback becomes an outcome: as it is where it names one, else by the model."""

    def collapse(feedback: str, outcomes: Sequence[str], llm: Any) -> str:
        said = feedback.strip().lower()
        for outcome in outcomes:
            if said == outcome.lower():
                return outcome
        return ask_model(feedback=feedback, outcomes=outcomes, llm=llm)

    return collapse
