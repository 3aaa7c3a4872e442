"""The clients have every call of the API, and every field of its answers."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from core.make_sync_client import CLIENT, make
from pydantic import BaseModel

from crewmesh.client import Client, MeshError, models
from crewmesh.client._sync.resource import Resource
from crewmesh_gateway import schemas, schemas_of_fleet, schemas_of_tenants
from crewmesh_gateway.routes import (
    account,
    artifacts,
    audit,
    auth,
    budgets,
    crews,
    datasets,
    events,
    health,
    limits,
    policy,
    runs,
    secrets,
    sessions,
    users,
    workers,
)

ROUTERS = (
    *(account, artifacts, audit, auth, budgets, crews, datasets, events, health, limits, policy),
    *(runs, secrets, sessions, users, workers),
)
# For other programs than a client of the API.
NOT_CALLED = {("GET", "/metrics"), ("GET", "/.well-known/jwks.json")}
# Named otherwise, since the gateway has them in several modules.
OTHER_NAMES = {"UsageReport": (schemas_of_tenants, "Usage"), "RunError": (schemas, "RunError")}
# Of the client's own, or documented by the shape of something else.
NO_SCHEMA = {"Model", "Policy", "Health", "ServerInfo"}


def api() -> set[tuple[str, str]]:
    routes = [route for module in ROUTERS for route in module.router.routes]
    return {
        (method, re.sub(r"{\w+}", "x", route.path))  # type: ignore[attr-defined]
        for route in routes
        for method in route.methods  # type: ignore[attr-defined]
    }


def test_every_call_of_the_api_has_a_method(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: set[tuple[str, str]] = set()

    def answer(request: httpx2.Request) -> httpx2.Response:
        called.add((request.method, request.url.path))
        return httpx2.Response(418)

    made = httpx2.Client
    monkeypatch.setattr(
        httpx2, "Client", lambda **more: made(**more, transport=httpx2.MockTransport(answer))
    )
    client = Client("http://mesh", "key")
    for resource in vars(client).values():
        if isinstance(resource, Resource):
            for name, method in inspect.getmembers(resource, inspect.ismethod):
                if not name.startswith("_"):
                    perform(method, tmp_path)
    assert api() - called == NOT_CALLED


def perform(method: Any, tmp_path: Path) -> None:
    """Call a method with anything that its parameters take, to its end."""
    values = {"Path": tmp_path / "file", "bytes": b"", "Json": {}, "Sequence[Json]": []}
    values |= {"BinaryIO": (b"",), "Sequence[str]": ["x"]}
    needed = {
        parameter.name: values.get(parameter.annotation, "x")
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    if "file" in needed:
        file = tmp_path / "file.csv"
        file.write_bytes(b"a")
        needed["file"] = file.open("rb")
    # Some only ask when they are read.
    with pytest.raises(MeshError):
        list(method(**needed))


def fields(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


OUR_MODELS = [
    model
    for model in vars(models).values()
    if inspect.isclass(model) and issubclass(model, models.Model) and "[" not in model.__name__
    if model.__name__ not in NO_SCHEMA
]


@pytest.mark.parametrize("model", OUR_MODELS, ids=lambda model: model.__name__)
def test_answers_have_the_fields_that_the_api_documents(model: type[BaseModel]) -> None:
    module, name = OTHER_NAMES.get(model.__name__, (None, model.__name__))
    places: typing.Any = [module] if module else [schemas, schemas_of_fleet, schemas_of_tenants]
    documented = next(getattr(place, name) for place in places if hasattr(place, name))
    assert fields(model) == fields(documented)


def test_the_synchronous_client_is_made_from_the_asynchronous(tmp_path: Path) -> None:
    made = tmp_path / "_sync"
    make(made)
    assert {path.name: path.read_text() for path in made.glob("*.py")} == {
        path.name: path.read_text() for path in (CLIENT / "_sync").glob("*.py")
    }, "run `make client`"
