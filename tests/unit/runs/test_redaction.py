"""Secrets don't show in what a run says."""

from __future__ import annotations

import json

import pytest

from crewmesh_worker.redaction import Redactor

SECRETS = ["sk-0123456789", 'with "quotes" and \\', "schlüssel-ß", "sk-0123456789-longer", "x"]


@pytest.mark.parametrize("secret", SECRETS[:-1])
def test_a_secret_is_replaced_in_texts_and_in_json(secret: str) -> None:
    redactor = Redactor(SECRETS)
    assert redactor.redact(f"key={secret}.") == "key=[secret]."
    for ascii_only in (True, False):
        payload = json.dumps({"message": f"key={secret}."}, ensure_ascii=ascii_only)
        assert json.loads(redactor.redact(payload)) == {"message": "key=[secret]."}


def test_a_value_of_few_characters_is_left_alone() -> None:
    assert Redactor(["x", "", "true"]).redact("x is true") == "x is true"


def test_without_secrets_nothing_changes() -> None:
    assert Redactor([]).redact("anything") == "anything"
