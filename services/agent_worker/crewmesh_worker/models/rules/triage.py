"""How the offline model triages messages: by keywords, patterns and templates."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from crewmesh_worker.models.rules.conversation import Conversation
from crewmesh_worker.models.rules.planner import NAME, Rule

_KNOWN: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("triage.toml").read_text(encoding="utf-8")
)
_PATTERNS = {name: re.compile(pattern) for name, pattern in _KNOWN["fields"].items()}
_NEGATIONS = frozenset(_KNOWN["negation"]["words"].split())
_WORD = re.compile(r"[\w'\u2019-]+")
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_DROPPED = re.compile(r"\b(?:drop|remove|skip|without|leave out|omit)\b(.*)", re.IGNORECASE)
_BY_RULE = f"by {NAME}, which follows rules and is no language model"


def triage(message: dict[str, str], categories: list[str], fields: list[str]) -> dict[str, Any]:
    """Return what rules make of one message: id, category, urgency, fields, reason."""
    category, words = _category(message, categories)
    urgency, telling = _urgency(message)
    said = ", ".join(f"“{word}”" for word in [*words, *telling])
    return {
        "id": message["id"],
        "category": category,
        "urgency": urgency,
        "fields": [{"name": n, "value": v} for n, v in _fields(message, fields).items()],
        "reason": f"{'says ' + said if said else 'no keyword of any category'} ({_BY_RULE})",
    }


def _category(message: dict[str, str], categories: list[str]) -> tuple[str, list[str]]:
    subject, body = _words(message["subject"]), _words(message["body"])
    best, found, score = "", list[str](), 0
    for category in categories:
        keywords = _KNOWN["categories"].get(category, category.replace("_", " ")).split()
        hits = [word for word in keywords if any(w.startswith(word) for w in subject + body)]
        points = len(hits) + sum(any(w.startswith(word) for w in subject) for word in hits)
        if points > score:
            best, found, score = category, hits, points
    if not best:
        best = "other" if "other" in categories else categories[-1]
    return best, found[:3]


def _urgency(message: dict[str, str]) -> tuple[str, list[str]]:
    words = _words(f"{message['subject']} . {message['body']}")
    for urgency, text in _KNOWN["urgency"].items():
        keywords = set(text.split())
        for before, word in zip(["", *words], words, strict=False):
            if word in keywords and before not in _NEGATIONS:
                return urgency, [word]
    return "normal", []


def _words(text: str) -> list[str]:
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def _fields(message: dict[str, str], names: list[str]) -> dict[str, str]:
    text = f"{message['subject']}\n{message['body']}"
    found = {}
    for name in names:
        # "Order number: 17" is the surest.
        label = re.escape(name).replace("_", r"[ _-]?")
        match = re.search(rf"(?im)^\s*{label}\s*[:=]\s*(\S.*?)\s*$", text)
        if match is None and name in _PATTERNS:
            match = _PATTERNS[name].search(text)
        if match:
            found[name] = match.group(1).strip().rstrip(".,;")
    return _with_sender(message["sender"], found, names)


def _with_sender(sender: str, found: dict[str, str], names: list[str]) -> dict[str, str]:
    """Take name and address from the sender, where the text doesn't say them."""
    address = _PATTERNS["email"].search(sender)
    if address and "email" in names:
        found.setdefault("email", address.group(1))
    called = re.match(r'\s*"?([^"<@]+?)"?\s*<', sender)
    if called and "name" in names:
        found.setdefault("name", called.group(1))
    return {name: found[name] for name in names if name in found}


def _no_arguments(_: Conversation) -> list[dict[str, Any]]:
    return [{}]


def _triage_answer(conversation: Conversation) -> str:
    result = conversation.results_of("read_messages")[-1]
    if result.failed:
        raise ValueError(result.text.removeprefix("Error executing tool: "))
    value = result.value
    categories, fields = list(value["categories"]), list(value["fields"])
    tickets = [triage(message, categories, fields) for message in value["messages"]]
    return json.dumps({"tickets": tickets}, ensure_ascii=False)


def _plan_calls(conversation: Conversation) -> list[dict[str, Any]]:
    """One plan, and one more for each thing that a person wants changed."""
    tickets = _tickets(conversation.context)
    calls = []
    for feedback in ["", *conversation.feedback]:
        match = _DROPPED.search(feedback)
        dropped = set(re.findall(r"[\w-]+", match.group(1))) if match else set()
        tickets = [ticket for ticket in tickets if ticket["id"] not in dropped]
        calls.append({"actions": [_action(ticket) for ticket in tickets]})
    return calls


def _tickets(context: str) -> list[dict[str, Any]]:
    found = _OBJECT.search(context)
    return list(json.loads(found.group())["tickets"]) if found else []


def _action(ticket: dict[str, Any]) -> dict[str, Any]:
    fields = {field["name"]: field["value"] for field in ticket["fields"]}
    name, known = fields.get("name"), _KNOWN["answers"]
    about = ""
    for kind in ("order", "invoice"):
        if number := fields.get(f"{kind}_number"):
            about = f" about {kind} {number}"
    answer = (
        f"Hello{' ' + name if name else ''},\n\nthank you for your message{about}. "
        f"{known.get(ticket['category'], known['other'])}\n\nYour case: {ticket['id']}"
    )
    kept = {key: ticket[key] for key in ("id", "category", "urgency", "fields")}
    return {**kept, "answer": answer}


def _plan_answer(conversation: Conversation) -> str:
    """Say why there is no plan: a plan that was made is the answer itself."""
    result = conversation.results_of("plan_actions")[-1]
    return f"There is no plan. {result.text}"


def _act_calls(conversation: Conversation) -> list[dict[str, Any]]:
    if not conversation.tagged("webhook_url"):
        return []
    return [{"id": action["id"]} for action in _planned(conversation)]


def _act_answer(conversation: Conversation) -> str:
    results = {r.arguments["id"]: r for r in conversation.results_of("post_webhook")}
    actions = []
    for action in _planned(conversation):
        result = results.get(action["id"])
        if result is None:
            status, detail = "planned", ""
        elif result.failed:
            status, detail = "failed", result.text.removeprefix("Error executing tool: ")
        else:
            status, detail = "sent", result.value["webhook_id"]
        fields = [{"name": name, "value": value} for name, value in action["fields"].items()]
        actions.append({**action, "fields": fields, "status": status, "detail": detail})
    return json.dumps({"actions": actions}, ensure_ascii=False, indent=2)


def _planned(conversation: Conversation) -> list[dict[str, Any]]:
    block = _BLOCK.search(conversation.context)
    return list(yaml.safe_load(block.group(1))["actions"]) if block else []


TRIAGE_RULES = {
    "read_messages": Rule(_no_arguments, _triage_answer),
    "plan_actions": Rule(_plan_calls, _plan_answer),
    "post_webhook": Rule(_act_calls, _act_answer),
}
