"""How the offline model answers messages: each part by a tool, or from what was said before."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from crewmesh_worker.messages.history import Turn, read_history
from crewmesh_worker.messages.parts import split_message
from crewmesh_worker.models.rules.conversation import Conversation, ToolResult
from crewmesh_worker.models.rules.planner import NAME, Rule, generic_answer, generic_calls
from crewmesh_worker.models.rules.requests import Request, read_requests
from crewmesh_worker.models.rules.telling import SAYINGS

_ASKED_BEFORE = re.compile(
    r"\bwhat (?:did|have|was it) i (?:just )?(?:ask|asked|say|said|tell|told|write|wrote|want|wanted)|"
    r"\bmy (?:last|previous|first|earlier) (?:questions?|messages?)|\bwhat was my\b|"
    r"\b(?:we|i) (?:talk|talked|speak|spoke) about\b|\bdo you remember what i\b",
    re.IGNORECASE,
)
_SAID_BEFORE = re.compile(
    r"\bwhat (?:did|have) you (?:just )?(?:say|said|answer|answered|tell|told|reply|replied)|"
    r"\byour (?:last|previous) (?:answer|reply|message)",
    re.IGNORECASE,
)
_MY_NAME = re.compile(r"\b(?:what is|what's|do you know|remember) my name\b", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:my name is|i am called|call me)\s+([^\W\d_][\w'-]*)", re.IGNORECASE)
_SMALL_TALK = re.compile(
    r"^(?:hi|hello|hey|good (?:morning|afternoon|evening)|thanks?(?: you)?|please|bye)\b[\s\w,]{0,15}[.!]*$",
    re.IGNORECASE,
)
_FAILURE = re.compile(r"^Error executing tool:\s*|^Error:\s*")


def _calls(tool: str, conversation: Conversation) -> list[dict[str, Any]]:
    if not conversation.tagged("message"):
        return generic_calls(conversation, tool)
    return [r.arguments for r in _requests(conversation) if r.tool == tool]


def _requests(conversation: Conversation) -> list[Request]:
    turns = [turn.text for turn in _history(conversation) if turn.role == "user"]
    earlier = [part for text in turns for part in split_message(text)]
    requests = read_requests(split_message(conversation.tagged("message")), earlier)
    return [_available(request, conversation) for request in requests]


def _available(request: Request, conversation: Conversation) -> Request:
    """Leave the conversation's own matters to the history, and the rest to tools that are there."""
    recalls = any(p.search(request.part) for p in (_ASKED_BEFORE, _SAID_BEFORE, _MY_NAME))
    if recalls or request.tool not in conversation.named_tools:
        return Request(request.part, placeless=request.placeless)
    return request


def _history(conversation: Conversation) -> list[Turn]:
    return read_history(conversation.tagged("history"))


def _answer(conversation: Conversation) -> str:
    if not conversation.tagged("message"):
        return generic_answer(conversation)
    results = {tool: iter(conversation.results_of(tool)) for tool in conversation.named_tools}
    said: list[tuple[str, str]] = []
    sources: dict[str, None] = {}
    for request in _requests(conversation):
        result = next(results[request.tool], None) if request.tool else None
        text = _say(request, result, conversation)
        if text:
            said.append((request.part, text))
        sources.update(dict.fromkeys(_sources(result)))
    blocks = [text for _, text in said]
    if len(said) > 1:
        blocks = [f"**{part}**\n\n{text}" for part, text in said]
    if sources:
        blocks.append(f"Sources: {'; '.join(sources)}.")
    return "\n\n".join(
        [*blocks, f"_Worked out by {NAME}, which follows rules and is no language model._"]
    )


def _say(request: Request, result: ToolResult | None, conversation: Conversation) -> str:
    if result is not None and result.failed:
        return f"This could not be answered: {_FAILURE.sub('', result.text)}"
    if result is not None and isinstance(result.value, dict):
        return SAYINGS[request.tool](result.value, request)
    if request.placeless:
        return "For which city? Name it in the question, or ask `weather city=Lisbon days=3`."
    recalled = _recall(request.part, _history(conversation))
    if recalled or _SMALL_TALK.match(request.part):
        return recalled
    if named := _NAMED.search(request.part):
        return f"Hello, {named[1]}."
    return (
        f"Rules can't answer “{request.part}”. They know the weather, the time, currencies, topics "
        "of the encyclopedia and what was said before; a language model (CREWMESH_MODEL) knows more."
    )


def _recall(part: str, turns: list[Turn]) -> str:
    """Return what the conversation holds of what is asked about it; "" for another question."""
    asked = [turn.text for turn in turns if turn.role == "user"]
    answered = [turn.text for turn in turns if turn.role == "assistant"]
    if _MY_NAME.search(part):
        names = [match[1] for text in asked for match in _NAMED.finditer(text)]
        return f"You said that your name is {names[-1]}." if names else "You have not told me."
    if _ASKED_BEFORE.search(part):
        if not asked:
            return "You have not asked anything before: this conversation begins here."
        if "first" in part.lower():
            asked = asked[:1]
        elif re.search(r"\b(?:last|previous)\b(?! questions| messages)", part.lower()):
            asked = asked[-1:]
        return "Before this, you asked:\n\n" + "\n".join(f"- “{_one_line(text)}”" for text in asked)
    if _SAID_BEFORE.search(part):
        return (
            f"I said:\n\n> {_one_line(answered[-1])}"
            if answered
            else "I have not said anything yet."
        )
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _sources(result: ToolResult | None) -> list[str]:
    value = result.value if result is not None and not result.failed else None
    if not isinstance(value, dict):
        return []
    found = [value.get("source"), (value.get("answer") or {}).get("source")]
    return [source for source in found if source]


ASSISTANT_RULES = {tool: Rule(partial(_calls, tool), _answer) for tool in SAYINGS}
