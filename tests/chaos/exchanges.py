"""The oracle's rules about what people and runs give each other: answers, files, datasets."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.client import Answer, Client
from tests.chaos.crews.names import content_of, digest
from tests.chaos.evidence import Evidence, Fault, Row, as_text


def answers_used_once(evidence: Evidence) -> Iterator[Fault | None]:
    """Look at each answer: it stands in the log once, behind its question, if it was taken."""
    for client in evidence.clients:
        log = evidence.events.get(client.run_id, [])
        taken = [event for event in log if event["type"] == "input.received"]
        sent = {(answer.question + 1, answer.text) for answer in client.answers}
        for event in taken:
            known = (event["seq"], event["payload"]["text"]) in sent
            yield None if known else (client.run_id, f"has an answer that nobody gave: {event}")
        for answer in client.answers:
            found = [event["seq"] for event in taken if event["payload"]["text"] == answer.text]
            yield from _judge_answer(client, answer, found, taken)


def _judge_answer(
    client: Client, answer: Answer, found: list[int], taken: list[Row]
) -> Iterator[Fault | None]:
    place, run_id = answer.question + 1, client.run_id
    if answer.acknowledged and found != [place]:
        yield run_id, f"the acknowledged {answer} is in the log at {found}"
    elif answer.refused and found:
        yield run_id, f"the refused {answer} is in the log at {found}"
    elif answer.refused and not client.cancels and place not in [e["seq"] for e in taken]:
        yield run_id, f"{answer} was refused, though it was waited for"
    else:
        yield None


def artifacts_kept(evidence: Evidence) -> Iterator[Fault | None]:
    """Look at each file that was announced: it is stored, and comes back, as it was made."""
    downloads = {id_: came for client in evidence.clients for id_, came in client.downloads.items()}
    for event in evidence.all_events("artifact.created"):
        run_id, shown = str(event["run_id"]), event["payload"]
        content = content_of(evidence.runs[run_id]["inputs"]["key"], shown["name"])
        stored = evidence.artifacts.get(shown["id"])
        came_back_as = downloads.get(shown["id"])
        if stored is None or str(stored["run_id"]) != run_id:
            yield run_id, f"announced {shown}, which isn't stored"
        elif (stored["sha256"], shown["size_bytes"]) != (digest(content), len(content)):
            yield run_id, f"announced {shown}, stored is {as_text(stored)}"
        elif came_back_as != digest(content):
            yield run_id, f"announced {shown}, which came back as {came_back_as}"
        else:
            yield None


def datasets_come_back(evidence: Evidence) -> Iterator[Fault | None]:
    for client in evidence.clients:
        if client.has_data:
            same = client.dataset_came_back_as == digest(content_of(client.key, "data"))
            words = f"dataset {client.dataset!r} came back as {client.dataset_came_back_as!r}"
            yield None if same else (client.run_id, words)
