"""How the offline model recommends: one call, and each of its reasons put into words."""

from __future__ import annotations

import ast
from typing import Any

from crewmesh_worker.models.rules.conversation import Conversation
from crewmesh_worker.models.rules.planner import NAME, Rule


def _calls(conversation: Conversation) -> list[dict[str, Any]]:
    arguments: dict[str, Any] = {"user": conversation.tagged("user")}
    if liked := _parsed(conversation.tagged("liked")):
        arguments["liked"] = liked
    if count := _parsed(conversation.tagged("count")):
        arguments["count"] = count
    return [arguments]


def _parsed(text: str) -> Any:
    try:
        return ast.literal_eval(text)  # CrewAI writes inputs as Python does
    except (SyntaxError, ValueError):
        return None


def _answer(conversation: Conversation) -> str:
    result = conversation.results_of("recommend_items")[-1]
    if result.failed:
        return f"Nothing can be recommended. {result.text}"
    answer = result.value
    lines = [f"{n}. {_say(item)}" for n, item in enumerate(answer["recommendations"], start=1)]
    end = f"_Worded by {NAME}, which follows rules and is no language model._"
    return "\n\n".join([_basis(answer), "\n".join(lines), end]).replace("\n\n\n\n", "\n\n")


def _basis(answer: dict[str, Any]) -> str:
    user, model = answer["user"], answer["model"]
    size = f"{model['interactions']:,} interactions of {model['users']:,} users"
    unknown = f"“{user}” is not in the data. " if user and not answer["known_user"] else ""
    missing = ", ".join(f"“{item}”" for item in answer["unknown_items"])
    missing = f" Not in the data: {missing}." if missing else ""
    if not answer["recommendations"]:
        return f"{unknown}There is no item left to recommend.{missing}"
    match answer["basis"]:
        case "popularity":
            return (
                f"{unknown}This is what is popular, from {size}; nobody's taste is in it.{missing}"
            )
        case "both":
            start = "What people with this taste like, then what is popular"
        case _:
            start = "What people with this taste like"
    liked = answer["liked_items"]
    items = "one item" if liked == 1 else f"{liked} items"
    return f"{unknown}{start}: from {items} of the user's, and {size}.{missing}"


def _say(item: dict[str, Any]) -> str:
    name = f"**{item['title']}** (`{item['item']}`)" if "title" in item else f"**{item['item']}**"
    if item["because"] == "popular":
        return f"{name}: popular, liked by {item['liked_by']:,} users"
    reasons = [f"{_name(reason)} ({reason['share']:.0%})" for reason in item["because"]]
    return f"{name}: because you liked {_listed(reasons)}"


def _name(item: dict[str, Any]) -> str:
    return str(item.get("title") or item["item"])


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


RECOMMENDING_RULES = {"recommend_items": Rule(_calls, _answer)}
