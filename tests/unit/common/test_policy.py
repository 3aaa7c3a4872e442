"""What a tenant's policy allows."""

from __future__ import annotations

import pytest

from crewmesh.common.errors import InvalidInputError
from crewmesh.common.policy import EVERYTHING, Policy, parse_policy


def policy(**parts: object) -> Policy:
    return Policy.model_validate(parts)


@pytest.mark.parametrize(
    ("allowed", "name", "may"),
    [
        (None, "anything/at-all", True),
        ([], "offline", False),
        (["offline", "openai/*"], "openai/gpt-5-mini", True),
        (["offline", "openai/*"], "offline", True),
        (["offline", "openai/*"], "anthropic/claude", False),
        (["openai/gpt-5-mini"], "openai/gpt-5", False),
        (["*-mini"], "openai/gpt-5-mini", True),
    ],
)
def test_models_are_allowed_by_patterns(allowed: list[str] | None, name: str, may: bool) -> None:
    assert policy(models={"allowed": allowed}).allows_model(name) == may


@pytest.mark.parametrize(
    ("tools", "name", "may"),
    [
        ({}, "query_sql", True),
        ({"denied": ["query_*"]}, "query_sql", False),
        ({"allowed": ["query_sql"]}, "query_sql", True),
        ({"allowed": ["query_sql"]}, "fetch", False),
        ({"allowed": ["*"], "denied": ["fetch"]}, "fetch", False),
    ],
)
def test_what_is_denied_is_denied_whatever_is_allowed(
    tools: dict[str, list[str]], name: str, may: bool
) -> None:
    assert policy(tools=tools).allows_tool(name) == may


def test_every_fault_is_told_once() -> None:
    strict = policy(models={"allowed": ["offline"]}, tools={"denied": ["fetch"]})
    faults = strict.faults(["a/b", "a/b", "offline"], ["fetch", "fetch", "query_sql"])
    assert [(f.field, f.message.split(" ")[0]) for f in faults] == [
        ("models", "a/b"),
        ("tools", "the"),
    ]


def test_approval_is_needed_where_a_pattern_says_so() -> None:
    asking = policy(approval={"tools": ["send_*"]})
    assert asking.needs_approval("send_webhook")
    assert not asking.needs_approval("query_sql")
    assert not EVERYTHING.needs_approval("send_webhook")


def test_no_policy_allows_everything_public() -> None:
    everything = parse_policy("")
    assert everything.faults(["any/model"], ["any_tool"]) == []
    assert everything.hosts.allowed is None
    assert everything.hosts.private is False


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"models": {"allowed": 5}}', "models.allowed"),
        ('{"tools": {"denied": ["no spaces"]}}', "tools.denied.0"),
        ('{"colour": 1}', "colour"),
        ('{"run_budget": {"max_usd": -1}}', "run_budget.max_usd"),
        ("[", "policy"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_place(text: str, place: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_policy(text)
    assert place in [violation.field for violation in refused.value.violations]
