"""What a run is to triage: messages of its inputs or of a dataset, whatever their fields are called."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from crewmesh_worker.tools.context import enter_run
from crewmesh_worker.tools.registry import ToolError
from crewmesh_worker.tools.triage.messages import Message, read_messages


def read(messages: list[Any]) -> list[Message]:
    return read_messages(enter_run({}, {"messages": messages}))


def dataset(directory: Path, count: int) -> Path:
    path = directory / "tickets.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [[f"T{n}", "ann@example.com", f"Broken {n}"] for n in range(1, count + 1)]
        csv.writer(file).writerows([["Ticket", "Customer", "Summary"], *rows])
    return path


def test_fields_are_known_by_their_usual_names() -> None:
    written = {"Ticket_ID": 7, "EMAIL": " ann@example.com ", "title": "", "summary": "Broken"}
    assert read([written, {"text": "a" * 9_000, "date": "today"}]) == [
        Message("7", "ann@example.com", "Broken", "", ""),
        Message("M2", "", "", "a" * 8_000, "today"),
    ]


def test_without_messages_the_dataset_has_them(tmp_path: Path) -> None:
    messages = read_messages(enter_run({"data": dataset(tmp_path, 2)}, {"messages": []}))
    assert [(m.id, m.sender, m.subject) for m in messages] == [
        ("T1", "ann@example.com", "Broken 1"),
        ("T2", "ann@example.com", "Broken 2"),
    ]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "there is no message"),
        ([{"body": "x"}] * 101, "101 messages are more than a run takes"),
        ([{"id": 1, "body": "x"}, {"id": "1", "body": "y"}], "several messages have the id 1"),
        ([{"body": "x"}, {"id": 1, "from": "ann"}], "message 1 has neither a subject nor a body"),
    ],
)
def test_what_cannot_be_triaged_is_said(messages: list[Any], why: str) -> None:
    with pytest.raises(ToolError, match=why):
        read(messages)


def test_a_dataset_with_too_many_messages_is_not_cut(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="the dataset has 101 messages"):
        read_messages(enter_run({"data": dataset(tmp_path, 101)}))
