"""Sign-in by an identity provider: a real one, a real store, and what an attacker would try."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from crewmesh_gateway.oidc.settings import CALLBACK_PATH, OidcSettings
from tests.conftest import new_database
from tests.integration.conftest import serving_store
from tests.integration.gateway.fake_mesh import (
    FakeMesh,
    ServedGateway,
    serving_gateway,
    start_fake_mesh,
)
from tests.oidc_server import (
    CLIENT_ID,
    CLIENT_SECRET,
    Claims,
    OidcServer,
    elliptic_key,
    foreign_key,
    serving_oidc,
)

ROLES = {"oidc_role_claim": "groups", "oidc_roles": "crew-admins=admin,crew-devs=developer"}


@dataclass
class Browser:
    """Goes where it is sent, and keeps its cookies, which know no port."""

    http: httpx2.AsyncClient
    gateway: ServedGateway

    async def begin(self, query: str = "") -> str:
        """Go to the provider; return the callback that it sends one to, as a path."""
        sent = await self.http.get(f"{self.gateway.url}/v1/auth/oidc/start{query}")
        assert sent.status_code == 303, sent.text
        back = await self.http.get(sent.headers["location"])
        parts = urlsplit(back.headers["location"])
        return f"{parts.path}?{parts.query}"

    async def end(self, callback: str) -> str:
        """Come back; return the page that one is sent to."""
        answer = await self.http.get(f"{self.gateway.url}{callback}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def sign_in(self, query: str = "") -> str:
        return await self.end(await self.begin(query))

    async def me(self) -> Any:
        answer = await self.http.get(f"{self.gateway.url}/v1/me")
        return answer.json() if answer.status_code == 200 else None


@pytest.fixture(scope="module")
async def backend(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[FakeMesh, OidcServer]]:
    """One store and one provider for all tests here, in which each has people of its own."""
    mesh = await start_fake_mesh()
    with new_database(postgres) as url:
        async with (
            serving_store(url, tmp_path_factory.mktemp("oidc")) as store,
            serving_oidc() as provider,
        ):
            mesh.store_target = f"ipv4:127.0.0.1:{store.port}"
            yield mesh, provider
    await mesh.stop()


Gateways = Callable[[dict[str, Any]], Awaitable[ServedGateway]]


@pytest.fixture(scope="module")
async def gateways(backend: tuple[FakeMesh, OidcServer]) -> AsyncIterator[Gateways]:
    """Gateways of the mesh, one for each set of settings."""
    served: dict[str, ServedGateway] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def serve(configured: dict[str, Any]) -> ServedGateway:
            key = repr(configured)
            if key not in served:
                gateway = serving_gateway(backend[0], **configured)
                served[key] = await stack.enter_async_context(gateway)
            return served[key]

        yield serve


@pytest.fixture
def provider(backend: tuple[FakeMesh, OidcServer]) -> OidcServer:
    provider = backend[1]
    address = f"{secrets.token_hex(4)}@example.org"
    provider.person = {"sub": address[:8], "email": address, "email_verified": True, "name": "Ana"}
    provider.forge, provider.sign = lambda claims: None, None
    provider.asked.clear()
    return provider


def settings(provider: OidcServer, **more: Any) -> dict[str, Any]:
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_redirect_uri": f"http://127.0.0.1:1{CALLBACK_PATH}",
        "oidc_role": "viewer",
        **more,
    }


@pytest.fixture
def oidc_settings() -> dict[str, Any]:
    return {}


@pytest.fixture
async def browser(
    gateways: Gateways, provider: OidcServer, oidc_settings: dict[str, Any]
) -> AsyncIterator[Browser]:
    gateway = await gateways(settings(provider, **oidc_settings))
    async with httpx2.AsyncClient(timeout=20) as http:
        yield Browser(http, gateway)


def fault(page: str) -> str:
    parts = urlsplit(page)
    assert parts.path == "/sign-in"
    return parse_qs(parts.query)["fault"][0]


async def test_a_person_signs_in_and_is_the_same_one_the_next_time(
    browser: Browser, provider: OidcServer
) -> None:
    offered = (await browser.http.get(f"{browser.gateway.url}/v1/auth/providers")).json()
    assert offered == {"items": [{"label": "single sign-on", "url": "/v1/auth/oidc/start"}]}
    assert await browser.sign_in("?next=/crews%3Ftab=all") == "/crews?tab=all"
    first = await browser.me()
    assert first["user"]["email"] == provider.person["email"]
    assert first["role"] == "viewer"
    session = (await browser.http.get(f"{browser.gateway.url}/v1/auth/session")).json()
    assert session["signed_in"] is True
    assert session["renew_in_seconds"] > 60

    # An address may change; the subject stays, and needs no verified address any more.
    provider.person |= {"email": "new@example.org", "email_verified": False}
    assert await browser.sign_in() == "/runs"
    assert (await browser.me())["user"] == first["user"]
    assert provider.asked.count("metadata") <= 1
    assert provider.asked.count("keys") <= 1


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aX: y"]
)
async def test_nobody_is_sent_elsewhere_afterwards(browser: Browser, elsewhere: str) -> None:
    assert await browser.sign_in(f"?next={elsewhere}") == "/runs"


Forge = Callable[[OidcServer], Any]


def forging(**changes: Any) -> Forge:
    """Change claims; None takes one out."""

    def forge(provider: OidcServer) -> None:
        def change(claims: Claims) -> None:
            claims.update(changes)
            for name in [name for name, value in changes.items() if value is None]:
                del claims[name]

        provider.forge = change

    return forge


def signing(sign: Callable[[OidcServer, Claims], str]) -> Forge:
    def forge(provider: OidcServer) -> None:
        provider.sign = lambda claims: sign(provider, claims)

    return forge


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(forging(nonce="another"), id="nonce of another sign-in"),
        pytest.param(forging(nonce=None), id="no nonce"),
        pytest.param(forging(aud="another-client"), id="another audience"),
        pytest.param(forging(aud=["another-client", CLIENT_ID]), id="several audiences, no azp"),
        pytest.param(forging(azp="another-client"), id="another authorised party"),
        pytest.param(forging(aud=None), id="no audience"),
        pytest.param(forging(iss="https://evil.example"), id="another issuer"),
        pytest.param(forging(iss=None), id="no issuer"),
        pytest.param(forging(exp=1_700_000_000), id="expired"),
        pytest.param(forging(exp=None), id="no expiry"),
        pytest.param(forging(nbf=4_000_000_000), id="not yet"),
        pytest.param(forging(iat=4_000_000_000), id="issued in the future"),
        pytest.param(forging(sub=None), id="no subject"),
        pytest.param(forging(sub=""), id="an empty subject"),
        pytest.param(forging(sub=17), id="a subject that is no text"),
        pytest.param(forging(at_hash="AAAA"), id="another access token"),
        pytest.param(signing(OidcServer.unsigned), id="alg none"),
        pytest.param(signing(OidcServer.signed_by_the_public_key), id="HMAC by the public key"),
        pytest.param(
            signing(lambda p, c: p.signed(c, foreign_key("first"))), id="a foreign key by our kid"
        ),
        pytest.param(signing(lambda p, c: p.signed(c, foreign_key("x"))), id="kid unknown"),
        pytest.param(
            signing(lambda p, c: p.signed(c, p.key, "RS512")), id="an algorithm that isn't pinned"
        ),
        pytest.param(signing(lambda p, c: p.signed(c, p.key)[:-6] + "AAAAAA"), id="signature cut"),
        pytest.param(signing(lambda p, c: "not.a.token"), id="nonsense"),
        pytest.param(signing(lambda p, c: ""), id="nothing"),
    ],
)
async def test_a_token_that_is_not_good_signs_nobody_in(
    browser: Browser, provider: OidcServer, forge: Forge
) -> None:
    forge(provider)
    assert fault(await browser.sign_in()) == "refused"
    assert await browser.me() is None
    # The sign-in that failed is over, too.
    assert not [name for name in browser.http.cookies if "oidc" in name]


async def test_a_state_that_this_browser_did_not_begin_is_refused(browser: Browser) -> None:
    callback = await browser.begin()
    query = parse_qs(urlsplit(callback).query)
    code, state = query["code"][0], query["state"][0]
    for forged in ("", "&state=", "&state=guessed", f"&state={state[:-1]}"):
        other = httpx2.Cookies(browser.http.cookies)
        assert fault(await browser.end(f"{CALLBACK_PATH}?code={code}{forged}")) == "expired"
        browser.http.cookies = other
    # Nor is the right one, in a browser that has not the cookie: the link of an attacker.
    browser.http.cookies.clear()
    assert fault(await browser.end(callback)) == "expired"
    assert await browser.me() is None


async def test_a_callback_is_good_once(browser: Browser) -> None:
    callback = await browser.begin()
    assert await browser.end(callback) == "/runs"
    assert fault(await browser.end(callback)) == "expired"


async def test_a_code_of_another_sign_in_has_not_our_verifier(
    browser: Browser, provider: OidcServer
) -> None:
    stolen = parse_qs(urlsplit(await browser.begin()).query)["code"][0]
    own = parse_qs(urlsplit(await browser.begin()).query)
    callback = f"{CALLBACK_PATH}?code={stolen}&state={own['state'][0]}"
    assert fault(await browser.end(callback)) == "refused"


async def test_another_providers_answer_and_a_refusal_are_told(browser: Browser) -> None:
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    mixed = f"{CALLBACK_PATH}?code=x&state={state}&iss=https://evil.example"
    assert fault(await browser.end(mixed)) == "refused"
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    denied = f"{CALLBACK_PATH}?error=access_denied&state={state}"
    assert fault(await browser.end(denied)) == "denied"


async def test_an_unverified_address_finds_and_makes_no_account(
    browser: Browser, provider: OidcServer
) -> None:
    for email in ("owner@localhost", "nobody@example.org"):
        for verified in (False, None, "true", 1):
            provider.person = {"sub": "mallory", "email": email, "email_verified": verified}
            assert fault(await browser.sign_in()) == "email_unverified"
    assert await browser.me() is None


async def test_a_verified_address_finds_its_account_once(
    browser: Browser, provider: OidcServer
) -> None:
    made = {"email": "Bo@Example.org", "role": "operator"}
    user = (await browser.gateway.client.post("/v1/users", json=made)).json()
    provider.person = {"sub": "bo-1", "email": "bo@example.org", "email_verified": True}
    assert await browser.sign_in() == "/runs"
    me = await browser.me()
    assert (me["user"]["id"], me["role"]) == (user["id"], "operator")
    # The address belongs to somebody else at the provider now, who isn't the same person.
    provider.person = {"sub": "bo-2", "email": "bo@example.org", "email_verified": True}
    assert fault(await browser.sign_in()) == "account_conflict"


async def test_disabled_people_and_programs_stay_out(
    browser: Browser, provider: OidcServer
) -> None:
    users = browser.gateway.client
    assert await browser.sign_in() == "/runs"
    ana = (await browser.me())["user"]["id"]
    await users.patch(f"/v1/users/{ana}", json={"disabled": True})
    assert fault(await browser.sign_in()) == "account_conflict"
    program = {"email": "ci@example.org", "role": "operator", "service_account": True}
    assert (await users.post("/v1/users", json=program)).status_code == 201
    provider.person = {"sub": "ci", "email": "ci@example.org", "email_verified": True}
    assert fault(await browser.sign_in()) == "account_conflict"


@pytest.mark.parametrize("oidc_settings", [{**ROLES, "oidc_role": ""}])
async def test_groups_say_the_role_at_each_sign_in(browser: Browser, provider: OidcServer) -> None:
    provider.person["groups"] = ["all", "crew-devs", "crew-admins"]
    assert await browser.sign_in() == "/runs"
    assert (await browser.me())["role"] == "admin"
    provider.person["groups"] = "crew-devs"
    browser.http.cookies.clear()
    assert await browser.sign_in() == "/runs"
    assert (await browser.me())["role"] == "developer"
    for nothing in ([], ["all"], None, {"crew-admins": 1}, ["owner"]):
        provider.person["groups"] = nothing
        assert fault(await browser.sign_in()) == "no_role"


@pytest.mark.parametrize("oidc_settings", [ROLES])
async def test_an_owner_stays_one_whatever_the_groups_say(
    browser: Browser, provider: OidcServer
) -> None:
    provider.person = {
        "sub": "o", "email": "owner@localhost", "email_verified": True, "groups": ["crew-devs"],
    }  # fmt: skip
    assert await browser.sign_in() == "/runs"
    assert (await browser.me())["role"] == "owner"


@pytest.mark.parametrize(
    "oidc_settings",
    [{"oidc_org_claim": "realm.tenant", "oidc_orgs": "acme=default,other=Elsewhere"}],
)
async def test_a_claim_says_the_organisation_and_none_means_no_way_in(
    browser: Browser, provider: OidcServer
) -> None:
    provider.person["realm"] = {"tenant": "acme"}
    assert await browser.sign_in() == "/runs"
    for value in (None, "default", ["acme", "other"], "Elsewhere"):
        provider.person["realm"] = {"tenant": value}
        assert fault(await browser.sign_in()) == "no_organisation"
    provider.person["realm"] = {"tenant": "other"}
    assert fault(await browser.sign_in()) == "account_conflict"
    provider.person |= {"sub": "new", "email": "n@example.org"}
    assert fault(await browser.sign_in()) == "no_organisation"


@pytest.mark.parametrize("oidc_settings", [{"oidc_algorithms": "RS256, ES256"}])
async def test_a_key_that_is_new_is_asked_for_and_an_old_one_no_longer_believed(
    browser: Browser, provider: OidcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crewmesh_gateway.oidc.provider._KEYS_AGAIN_SECONDS", 0.0)
    assert await browser.sign_in() == "/runs"
    old, provider.key = provider.key, elliptic_key()
    provider.sign = lambda claims: provider.signed(claims, provider.key, "ES256")
    assert await browser.sign_in() == "/runs"
    provider.sign = lambda claims: provider.signed(claims, old)
    assert fault(await browser.sign_in()) == "refused"
    provider.key = old


async def test_a_provider_that_is_away_or_another_is_told_of(
    backend: tuple[FakeMesh, OidcServer], provider: OidcServer
) -> None:
    away = settings(provider) | {"oidc_issuer": "http://127.0.0.1:1"}
    other = settings(provider) | {"oidc_issuer": provider.issuer.replace("127.0.0.1", "localhost")}
    for configured, code in ((away, "unavailable"), (other, "refused")):
        async with serving_gateway(backend[0], **configured) as gateway:
            sent = await gateway.client.get("/v1/auth/oidc/start")
            assert fault(sent.headers["location"]) == code


async def test_without_a_provider_there_is_none(shared_client: httpx2.AsyncClient) -> None:
    assert (await shared_client.get("/v1/auth/providers")).json() == {"items": []}
    assert (await shared_client.get("/v1/auth/oidc/start")).status_code == 404
    assert (await shared_client.get(CALLBACK_PATH)).status_code == 404


GOOD: dict[str, Any] = {
    "issuer": "https://id.example",
    "client_id": "c",
    "redirect_uri": f"https://mesh.example{CALLBACK_PATH}",
}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"issuer": "http://id.example"}, "ISSUER"),
        ({"issuer": "https://u:p@id.example"}, "ISSUER"),
        ({"redirect_uri": ""}, "REDIRECT_URI"),
        ({"redirect_uri": "https://mesh.example/"}, "REDIRECT_URI"),
        ({"client_id": ""}, "CLIENT_ID"),
        ({"scopes": "email"}, "openid"),
        ({"algorithms": ("none",)}, "none"),
        ({"algorithms": ("RS256", "HS256")}, "HS256"),
        ({"algorithms": ()}, "ALGORITHMS"),
        ({"role": "owner"}, "owners are made by owners"),
        ({"role_claim": "g", "roles": {"a": "king"}}, "king"),
        ({"role_claim": "g"}, "go together"),
        ({"orgs": {"a": "b"}}, "go together"),
    ],
)
def test_settings_that_would_let_the_wrong_people_in_are_refused(
    wrong: dict[str, Any], told: str
) -> None:
    OidcSettings(**GOOD)
    with pytest.raises(ValueError, match=told):
        OidcSettings(**{**GOOD, **wrong})
