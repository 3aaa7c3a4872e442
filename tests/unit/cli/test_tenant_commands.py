"""`crewmesh budgets` and `crewmesh policy`, against a mesh that remembers what it was told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Crewmesh
from tests.unit.cli.fake_mesh import FakeMesh, problem


def budget(period: str, tokens: int | None, usd: float | None, key: str | None = None) -> Any:
    return {"api_key_id": key, "period": period, "max_tokens": tokens, "max_usd": usd}


def test_budgets_are_set_one_by_one_and_shown_with_what_is_gone(
    crewmesh: Crewmesh, mesh: FakeMesh
) -> None:
    assert "crewmesh budgets set month" in crewmesh("budgets", "ls").out
    crewmesh("budgets", "set", "month", "--max-usd", "100")
    crewmesh("budgets", "set", "day", "--max-tokens", "5000", "--key", "k1")
    shown = crewmesh("budgets", "set", "month", "--max-usd", "50", "--max-tokens", "9000")
    assert shown.status == 0
    assert mesh.budgets == [budget("day", 5000, None, "k1"), budget("month", 9000, 50.0)]
    assert [line.split() for line in shown.out.splitlines()] == [
        ["OF", "PERIOD", "TOKENS", "GONE", "USD", "GONE"],
        ["key", "k1", "day", "5,000", "6", "none", "0.7500"],
        ["all", "month", "9,000", "6", "50.00", "0.7500"],
    ]
    assert crewmesh("budgets", "ls", "--json").json["items"][1]["max_usd"] == 50.0


def test_a_budget_is_removed_and_the_others_stay(crewmesh: Crewmesh, mesh: FakeMesh) -> None:
    mesh.budgets = [budget("day", 1, None, "k1"), budget("day", 2, None), budget("month", 3, None)]
    left = crewmesh("budgets", "rm", "day", "--json")
    assert [item["max_tokens"] for item in left.json["items"]] == [1, 3]
    assert mesh.budgets == [budget("day", 1, None, "k1"), budget("month", 3, None)]
    again = crewmesh("budgets", "rm", "day")
    assert again.status == 1
    assert "the organisation has no budget for day" in again.err
    assert "crewmesh budgets ls" in again.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("set", "month"), "--max-tokens, --max-usd or both"),
        (("set", "year", "--max-usd", "1"), "day, month, total"),
        (("set", "day", "--max-usd", "0"), "above 0"),
        (("set", "day", "--max-usd", "nan"), "above 0"),
        (("set", "day", "--max-usd", "inf"), "above 0"),
        (("set", "day", "--max-tokens", "0"), "--max-tokens"),
        (("rm", "year"), "day, month, total"),
    ],
)
def test_budgets_that_make_no_sense_are_not_even_asked_for(
    crewmesh: Crewmesh, mesh: FakeMesh, options: tuple[str, ...], told: str
) -> None:
    refused = crewmesh("budgets", *options)
    assert refused.status == 2
    assert told in refused.err
    assert mesh.requests == []


def test_what_policy_show_prints_can_be_set_again(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    mesh.policy = policy = {"models": {"allowed": ["openai/*", "offline"]}, "hosts": {"x": None}}
    for name, options in (("policy.yaml", ()), ("policy.json", ("--json",))):
        file = tmp_path / name
        file.write_text(crewmesh("policy", "show", *options).out, encoding="utf-8")
        mesh.policy = {}
        done = crewmesh("policy", "set", str(file))
        assert done.status == 0, done.err
        assert mesh.policy == policy


def test_a_policy_comes_from_standard_input_too(
    crewmesh: Crewmesh, mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("tools: {denied: [fetch_*]}"))
    assert crewmesh("policy", "set", "-", "--json").json == {"tools": {"denied": ["fetch_*"]}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "crewmesh policy show > policy.yaml"),
        ("- models", "isn't a mapping"),
        ("", "isn't a mapping"),
        ("models: [", "can't be read"),
        ("models: 1\nmodels: 2", "models"),
    ],
)
def test_what_is_no_policy_is_not_sent(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path, text: str | None, told: str
) -> None:
    file = tmp_path / "policy.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    refused = crewmesh("policy", "set", str(file))
    assert refused.status == 2
    assert told in refused.err
    assert mesh.requests == []


def test_every_fault_of_a_policy_is_told_with_its_place_and_what_to_do(
    crewmesh: Crewmesh, mesh: FakeMesh, tmp_path: Path
) -> None:
    faults = [
        {"loc": ["body", "models", "allowed"], "msg": "Input should be a valid list"},
        {"loc": ["body", "colour"], "msg": "Extra inputs are not permitted"},
    ]
    mesh.problems["/v1/policy"] = [problem(422, "invalid_request", "wrong", errors=faults)]
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"models": {"allowed": "all"}, "colour": 1}), encoding="utf-8")
    refused = crewmesh("policy", "set", str(file))
    assert refused.status == 2
    for told in ("models.allowed: Input should be", "colour: Extra", "docs/how-to/budgets.md"):
        assert told in refused.err
