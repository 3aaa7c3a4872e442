"""Which ports runs may connect to, by the worker's settings."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest
from tests.conftest import MESH_SECRET

from crewmesh_worker.settings import WorkerSettings

DEFAULT = (53, 80, 443, 11434)


def ports(**settings: Any) -> tuple[int, ...] | None:
    configured = WorkerSettings(
        store_target="ipv4:127.0.0.1:8082", mesh_secret=MESH_SECRET, **settings
    )
    allowed: tuple[int, ...] | None = configured.confinement()["ports"]
    return allowed


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OLLAMA_HOST", "AZURE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_by_default_none_of_the_mesh_is_among_them() -> None:
    assert ports() == DEFAULT
    # Of the gateway, the workers, the store, its metrics and KEDA's port, and Postgres.
    assert not {8080, 8081, 8082, 8083, 5432} & set(DEFAULT)


def test_addresses_that_runs_are_given_are_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://vllm.example:8000/v1")
    monkeypatch.setenv("OLLAMA_HOST", "models:11500")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1:99999")
    monkeypatch.setenv("AZURE_ENDPOINT", "https://x.example:port")
    assert ports(weather_url="http://127.0.0.1:9000") == tuple(
        sorted({*DEFAULT, 8000, 9000, 11500})
    )


@pytest.mark.parametrize(
    ("named", "allowed"), [("any", None), ("443", (443,)), ("443, 5433,", (443, 5433)), ("", ())]
)
def test_the_operator_names_them(named: str, allowed: tuple[int, ...] | None) -> None:
    assert ports(runner_ports=named) == allowed


@pytest.mark.parametrize("wrong", ["0", "65536", "http", "1-5", "any,443"])
def test_what_is_no_port_is_refused(wrong: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        ports(runner_ports=wrong)
