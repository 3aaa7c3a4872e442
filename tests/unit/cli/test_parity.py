"""Everything that the API does, some command does: each is called, and so is each operation."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest
import typer
from docs.generate.rest import openapi

from crewmesh.cli.main import app
from tests.unit.cli.conftest import Crewmesh

ID = "0199aa3c-5f0e-7c41-9d0b-2f6f3f1f7a10"
LOGIN = "login --url http://mesh --email ana@example.org"

# Which command lines call which operation of the API.
COMMANDS: dict[str, list[str]] = {
    "POST /v1/runs": ["run hello --detach"],
    "GET /v1/runs": ["runs ls"],
    "GET /v1/runs/{run_id}": [f"runs show {ID}", f"runs compare {ID} {ID}"],
    "GET /v1/runs/{run_id}/events": [f"runs events {ID}", f"runs watch {ID}"],
    "GET /v1/runs/{run_id}/artifacts": [f"runs artifacts {ID}"],
    "POST /v1/runs/{run_id}/cancel": [f"runs cancel {ID}"],
    "POST /v1/runs/{run_id}/retry": [f"runs retry {ID}"],
    "POST /v1/runs/{run_id}/input": [f"runs answer {ID} yes"],
    "GET /v1/artifacts/{artifact_id}": [f"runs artifact {ID} 00 saved.png"],
    "GET /v1/crews": ["crews ls"],
    "GET /v1/crews/{name}": ["crews show x"],
    "PUT /v1/crews/{name}": ["crews push crew.yaml"],
    "DELETE /v1/crews/{name}": ["crews rm x"],
    "GET /v1/crews/{name}/versions": ["crews versions x"],
    "GET /v1/crews/{name}/diff": ["crews diff x"],
    "POST /v1/crews/{name}/rollback": ["crews rollback x 1"],
    "GET /v1/tools": ["tools ls", "tools show x"],
    "POST /v1/datasets": ["datasets put data.csv"],
    "GET /v1/datasets": ["datasets ls"],
    "GET /v1/datasets/{dataset_id}": ["datasets show x"],
    "GET /v1/datasets/{dataset_id}/content": ["datasets get x saved.csv"],
    "DELETE /v1/datasets/{dataset_id}": ["datasets rm x"],
    "POST /v1/sessions": ["chat hello"],
    "GET /v1/sessions": ["sessions ls"],
    "GET /v1/sessions/{session_id}": [f"sessions show {ID}"],
    "DELETE /v1/sessions/{session_id}": [f"sessions rm {ID}"],
    "DELETE /v1/sessions/{session_id}/memory": [f"sessions forget {ID}"],
    "GET /v1/sessions/{session_id}/messages": [f"sessions show {ID}"],
    "POST /v1/sessions/{session_id}/messages": ["chat hello"],
    "GET /v1/me": ["whoami"],
    "PUT /v1/me/password": ["password"],
    "POST /v1/auth/token": [LOGIN],
    "POST /v1/auth/logout": [LOGIN],
    "POST /v1/api-keys": ["keys create ci", LOGIN],
    "GET /v1/api-keys": ["keys ls"],
    "DELETE /v1/api-keys/{key_id}": ["keys revoke x", "logout"],
    "GET /v1/users": ["users ls"],
    "POST /v1/users": ["users add ana@example.org"],
    "GET /v1/users/{user_id}": ["users show x"],
    "PATCH /v1/users/{user_id}": ["users set x --role viewer"],
    "DELETE /v1/users/{user_id}": ["users rm x"],
    "GET /v1/audit": ["audit ls", "audit verify"],
    "GET /v1/limits": ["limits show"],
    "PUT /v1/limits": ["limits set --max-queued 5"],
    "GET /v1/budgets": ["budgets ls"],
    "PUT /v1/budgets": ["budgets set month --max-usd 1", "budgets rm day --key 00"],
    "GET /v1/policy": ["policy show"],
    "PUT /v1/policy": ["policy set policy.yaml"],
    "GET /v1/secrets": ["secrets ls"],
    "GET /v1/secrets/{name}": ["secrets show A_KEY"],
    "PUT /v1/secrets/{name}": ["secrets set A_KEY"],
    "DELETE /v1/secrets/{name}": ["secrets rm A_KEY"],
    "GET /v1/usage": ["usage"],
    "GET /v1/workers": ["workers"],
    "GET /healthz": ["doctor"],
    "GET /readyz": ["doctor"],
}  # fmt: skip

_BROWSERS = "for the console's cookie; the command line signs in by `login`"
NOT_FOR_US = {
    "POST /v1/auth/refresh": "the command line keeps an API key, and no tokens",
    "GET /v1/auth/session": _BROWSERS,
    "POST /v1/auth/session": _BROWSERS,
    "POST /v1/auth/session/renew": _BROWSERS,
    "DELETE /v1/auth/session": _BROWSERS,
    "GET /v1/auth/providers": _BROWSERS,
    "GET /v1/auth/oidc/start": _BROWSERS,
    "GET /v1/auth/oidc/callback": _BROWSERS,
    "GET /metrics": "for Prometheus",
    "GET /.well-known/jwks.json": "for programs that check tokens",
}
# Of this machine; they call no mesh.
LOCAL = {"version", "up", "init", "certs", "backup", "restore"}

STDIN = {
    "chat": "Hello\n",
    "login": "a password\n",
    "password": "the old one\nthe new one\n",
    "secrets set": "value",
}
FILES = {
    "data.csv": "a,b\n1,2\n",
    "policy.yaml": "tools: {denied: [fetch_*]}",
    "crew.yaml": "name: x",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncio.run(openapi())


class DocumentedMesh:
    """Answers as the API is documented; `called` has the operations that were asked for."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.called: set[str] = set()
        self._schemas = document["components"]["schemas"]
        # A path without parameters is none with them.
        self._operations = {
            (method.upper(), path): operation
            for path, item in sorted(document["paths"].items(), key=lambda entry: "{" in entry[0])
            for method, operation in item.items()
        }

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        for (method, path), operation in self._operations.items():
            pattern = re.sub(
                r"{\w+}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
            )
            if request.method == method and re.fullmatch(pattern, request.url.path):
                self.called.add(f"{method} {path}")
                return self._answer(request, operation)
        return httpx2.Response(200, json={"info": {"version": "0"}})

    def _answer(self, request: httpx2.Request, operation: dict[str, Any]) -> httpx2.Response:
        if request.headers["accept"] == "text/event-stream":
            event = self._example(self._schemas["RunEvent"]) | {"type": "run.succeeded"}
            stream = f"id: 1\ndata: {json.dumps(event | {'payload': {}})}\n\n"
            return httpx2.Response(
                200, text=stream, headers={"Content-Type": request.headers["accept"]}
            )
        status = next(status for status in operation["responses"] if status.startswith("2"))
        content = operation["responses"][status].get("content", {})
        if (described := content.get("application/json")) is None:
            return httpx2.Response(int(status))
        return httpx2.Response(int(status), json=self._example(described["schema"]) or {})

    def _example(self, schema: dict[str, Any], name: str = "") -> Any:
        if reference := schema.get("$ref"):
            return self._example(self._schemas[reference.rpartition("/")[2]])
        if name == "type" and "examples" in schema:
            return "input.requested"  # what a run is answered after
        if options := schema.get("anyOf", ()):
            # A page is the last one.
            return None if name == "next_cursor" else self._example(options[0])
        if "enum" in schema or "const" in schema:
            choices = schema.get("enum", [schema.get("const")])
            return "succeeded" if "succeeded" in choices else choices[0]
        if schema.get("type") == "object":
            properties = schema.get("properties", {})
            return {name: self._example(of, name) for name, of in properties.items()}
        if schema.get("type") == "array":
            return [self._example(schema["items"])]
        if schema.get("format") == "date-time":
            return "2026-11-23T06:00:00Z"
        return {"integer": 1, "number": 1.0, "boolean": False, "string": "00"}.get(
            schema.get("type", "")
        )


@pytest.fixture
def mesh(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> DocumentedMesh:
    documented = DocumentedMesh(document)
    made = httpx2.AsyncClient
    monkeypatch.setattr(
        httpx2,
        "AsyncClient",
        lambda **more: made(**more, transport=httpx2.MockTransport(documented.answer)),
    )
    monkeypatch.setenv("CREWMESH_URL", "http://mesh")
    monkeypatch.setenv("CREWMESH_API_KEY", "key")
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    return documented


def test_each_operation_has_its_command_or_a_reason_for_none(document: dict[str, Any]) -> None:
    operations = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert COMMANDS.keys() | NOT_FOR_US.keys() == operations
    assert COMMANDS.keys().isdisjoint(NOT_FOR_US)


def test_each_command_has_its_operation_or_is_of_this_machine() -> None:
    commands = set(leaves(typer.main.get_command(app)))
    named = {command_of(line, commands) for lines in COMMANDS.values() for line in lines}
    assert named | LOCAL == commands
    assert named.isdisjoint(LOCAL)


@pytest.mark.parametrize(
    ("operation", "line"), [(name, line) for name, lines in COMMANDS.items() for line in lines]
)
def test_the_command_calls_the_operation(
    crewmesh: Crewmesh,
    mesh: DocumentedMesh,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    line: str,
) -> None:
    stdin = next((text for begin, text in STDIN.items() if line.startswith(begin)), "")
    if line == "logout":
        monkeypatch.setattr("sys.stdin", io.StringIO(STDIN["login"]))
        assert crewmesh(*LOGIN.split()).status == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    done = crewmesh(*line.split())
    assert operation in mesh.called, (done, mesh.called)


def leaves(command: click.Command, above: str = "") -> Iterator[str]:
    if not hasattr(command, "commands"):
        yield above.strip()
        return
    for name, below in command.commands.items():
        yield from leaves(below, f"{above} {name}")


def command_of(line: str, commands: set[str]) -> str:
    """Return the command of a line; what is none stays as it is, and isn't among them."""
    words = line.split()
    return next((name for name in (" ".join(words[:2]), words[0]) if name in commands), line)
