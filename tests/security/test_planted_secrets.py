"""Secrets that are planted wherever one can be given, and looked for wherever something is kept."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Mesh, running_mesh
from tests.security.counts import count

# Of a tenant, given to its runs.
PLANTED = {
    "PLANTED_OPENAI": "sk-proj-Zk3vPlantedOpenAiKey0123456789abcdef",
    "PLANTED_ANTHROPIC": "sk-ant-api03-PlantedAnthropicKey-0123456789",
    "PLANTED_GOOGLE": "AIzaSyPlantedGoogleKey0123456789abcdefgh",
    "PLANTED_AWS": "wJalrXUtnFEMI/K7MDENG/bPxRfiPlantedAws",
    "PLANTED_GITHUB": "ghp_PlantedGithubToken0123456789abcdef",
    "PLANTED_SLACK": "xoxb-123456789012-PlantedSlackToken",
    "PLANTED_STRIPE": "sk_live_PlantedStripeKey0123456789",
    "PLANTED_JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlUGxhbnRlZA",
    "PLANTED_DSN": "postgresql://planted:Planted-Db-Pass@db.example.org:5432/x",
    "PLANTED_PASSWORD": 'Planted "quoted" p\\ssword & more',
    "PLANTED_PEM": "-----BEGIN PRIVATE KEY-----\nMC4CAQPlantedPrivateKey\n-----END PRIVATE KEY-----",
    "PLANTED_UNICODE": "schlüssel-ß-planted-€",
}
WEBHOOK = "whsec_UGxhbnRlZFdlYmhvb2tTZWNyZXQ="
PASSWORD, WRONG_PASSWORD = "Planted pass phrase 1", "Planted wrong pass phrase 2"
STRANGE_KEY = "cm_PlantedKeyThatNobodyHas0123456789abcdefghijk"
REFUSED = "PlantedValueOfASecretThatIsRefused"


@pytest.mark.timeout(300)
async def test_planted_secrets_are_found_nowhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_mesh(
        tmp_path_factory.mktemp("planted"),
        CREWMESH_LOG_LEVEL="DEBUG",
        CREWMESH_RUNNER_BUILDER="tests.security.leaky:build_crew",
        CREWMESH_MODEL="offline",
    ) as mesh:
        secrets, told = await plant(mesh)
        told += await leak(mesh)
        told.append(await read(mesh, "GET", "/v1/audit?limit=200"))
        told.append(await read(mesh, "GET", "/v1/secrets"))
    logs = "".join(file.read_text(encoding="utf-8") for file in mesh.directory.glob("logs/*"))
    told.append(logs)

    assert "the secrets are" in logs, "the run's own log wasn't kept, so nothing was shown"
    found = {
        name: [text[max(0, text.find(form) - 60) :][:120] for text in told if form in text]
        for name, secret in secrets.items()
        for form in {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        if any(form in text for text in told)
    }
    count("planted secrets", len(secrets))
    assert len(secrets) >= 20
    assert not found


async def plant(mesh: Mesh) -> tuple[dict[str, str], list[str]]:
    """Give the mesh secrets; return them, and what it said of those that it refused."""
    secrets = {**PLANTED, "webhook": WEBHOOK, "password": PASSWORD}
    # A line that is printed by itself.
    secrets["PLANTED_PEM's line"] = PLANTED["PLANTED_PEM"].splitlines()[1]
    for name, value in PLANTED.items():
        await read(mesh, "PUT", f"/v1/secrets/{name}", json={"value": value})
    person = {"email": "ana@example.org", "role": "viewer", "password": PASSWORD}
    await read(mesh, "POST", "/v1/users", json=person)
    key = json.loads(await read(mesh, "POST", "/v1/api-keys", json={"name": "planted"}))
    form = {"username": "ana@example.org", "password": PASSWORD}
    tokens = json.loads(await read(mesh, "POST", "/v1/auth/token", data=form))
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    await read(mesh, "GET", "/v1/me", headers=headers)
    told = [
        await read(mesh, "POST", "/v1/auth/token", data={**form, "password": WRONG_PASSWORD}),
        await read(mesh, "GET", "/v1/me", headers={"Authorization": f"Bearer {STRANGE_KEY}"}),
        await read(mesh, "PUT", "/v1/secrets/PATH", json={"value": REFUSED}),
        await read(mesh, "PUT", "/v1/secrets/PLANTED_X", json={"value": [REFUSED]}),
        await read(mesh, "POST", "/v1/auth/refresh", json={"refresh_token": [REFUSED]}),
    ]
    secrets |= {
        "API key": mesh.api_key,
        "new key": key["secret"],
        "unknown key": STRANGE_KEY,
        "access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "wrong password": WRONG_PASSWORD,
        "refused": REFUSED,
        **{
            name: (mesh.directory / name).read_text().strip()
            for name in ("mesh-secret", "secrets-key")
        },
    }
    return secrets, told


async def leak(mesh: Mesh) -> list[str]:
    """Have runs tell all that they were given; return what is kept of them."""
    told = []
    for topic in ("secrets", "fail"):
        body = {
            "crew": "hello",
            "inputs": {"topic": topic},
            "webhook": {"url": "https://planted.invalid/", "secret": WEBHOOK},
        }
        run = await read(mesh, "POST", "/v1/runs?wait=60", json=body)
        run_id = json.loads(run)["id"]
        events = await read(mesh, "GET", f"/v1/runs/{run_id}/events?limit=1000")
        told += [run, events, streamed(events)]
        assert json.loads(run)["status"] == ("failed" if topic == "fail" else "succeeded"), run
    assert f"{len(PLANTED)} secrets" in told[0]
    return told


def streamed(events: str) -> str:
    """Return what the model streamed, its pieces put together again."""
    chunks = [e["payload"] for e in json.loads(events)["items"] if e["type"] == "llm.chunk"]
    assert len(chunks) > 2 * len(PLANTED)
    return "".join(chunk["text"] for chunk in chunks)


async def read(mesh: Mesh, method: str, path: str, **content: Any) -> str:
    async with mesh.http.request(
        method, path, timeout=aiohttp.ClientTimeout(90), **content
    ) as answer:
        return await answer.text()
