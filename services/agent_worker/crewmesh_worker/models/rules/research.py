"""How the offline model answers a question from web pages: their own sentences, cited."""

from __future__ import annotations

import ast
import re
from typing import Any

from crewmesh_worker.models.rules.conversation import Conversation
from crewmesh_worker.models.rules.planner import NAME, Rule, generic_answer, generic_calls
from crewmesh_worker.models.rules.ranking import Passage, best_passages, passages

_URL = re.compile(r"https?://[^\s'\"<>\[\]]+")
_MOST_SENTENCES = 5
# What in a page's sentence would be read as a citation of ours, or as markup.
_CITATION = re.compile(r"\[(\d[\d,\s]*)\]")


def _fetch_calls(conversation: Conversation) -> list[dict[str, Any]]:
    urls = _urls(conversation.tagged("urls"))
    if not urls:
        return generic_calls(conversation, "fetch_pages")
    return [{"urls": urls}]


def _urls(text: str) -> list[str]:
    """Return the addresses in a list as CrewAI writes it into a task, or in any text."""
    try:
        given = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        given = _URL.findall(text)
    return [url for url in given if isinstance(url, str)] if isinstance(given, list) else []


def _pages(conversation: Conversation) -> list[dict[str, Any]]:
    results = conversation.results_of("fetch_pages")
    return [page for r in results if isinstance(r.value, dict) for page in r.value["pages"]]


def _draft(conversation: Conversation) -> str:
    """Return the answer: sentences of the pages with their numbers, then the list of pages."""
    pages = _pages(conversation)
    read = [page for page in pages if page["error"] is None]
    question = conversation.tagged("question")
    candidates = [p for page in read for p in passages(page["number"], page["text"])]
    best = best_passages(question, candidates, _MOST_SENTENCES)
    blocks = [_say(best) if best else _nothing_found(question, read)]
    if read:
        lines = [f"[{page['number']}] {_title(page)}: {page['url']}" for page in read]
        blocks.append("## Sources\n\n" + "\n".join(lines))
    if failed := [page for page in pages if page["error"] is not None]:
        lines = [f"- {page['url']}: {page['error']}" for page in failed]
        blocks.append("## Not read\n\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def _say(best: list[Passage]) -> str:
    lead, *rest = best
    lines = [f"{_quote(lead)} [{lead.page}]"]
    lines += [f"- {_quote(passage)} [{passage.page}]" for passage in rest]
    return f"{lines[0]}\n\n" + "\n".join(lines[1:]) if rest else lines[0]


def _quote(passage: Passage) -> str:
    return _CITATION.sub(r"(\1)", passage.text)


def _nothing_found(question: str, read: list[dict[str, Any]]) -> str:
    if not read:
        return "None of the pages could be read, so the question is not answered."
    return f"No sentence of the pages has the words of the question “{question}”."


def _title(page: dict[str, Any]) -> str:
    return " ".join(page["title"].split()) or "(no title)"


def _check_calls(conversation: Conversation) -> list[dict[str, Any]]:
    draft = _draft(conversation)
    return [{"answer": draft}] if re.search(r"\[\d+\](?=\n|$)", draft) else []


def _answer(conversation: Conversation) -> str:
    if not conversation.results_of("fetch_pages") or not conversation.tagged("question"):
        return generic_answer(conversation)
    blocks = [_draft(conversation)]
    failed = [r.text for r in conversation.results_of("fetch_pages") if r.failed]
    failed += [r.text for r in conversation.results_of("check_citations") if r.failed]
    blocks += [f"_{text}_" for text in failed]
    blocks.append(f"_Picked by {NAME}, which follows rules and is no language model._")
    return "\n\n".join(blocks)


RESEARCH_RULES = {
    "fetch_pages": Rule(_fetch_calls, _answer),
    "check_citations": Rule(_check_calls, _answer),
}
