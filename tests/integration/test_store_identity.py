"""Users, sign-ins, tokens and keys, at a real store."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_decode

from crewmesh.common.errors import CrewmeshError, error_from_rpc
from crewmesh.common.identity import Identity
from crewmesh.v1 import agent_pb2, identity_pb2
from crewmesh_store.identity.throttle import ACCOUNT_FAILURES
from tests.integration.conftest import StoreClient, serving_store

PASSWORD = "correct horse battery staple"


async def refusal(call: Awaitable[Any]) -> CrewmeshError:
    """Return the error that a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_from_rpc(raised.value)


class People:
    """What an admin and the people themselves do."""

    def __init__(self, store: StoreClient) -> None:
        self.store = store
        self.stub = store.identities

    def acting(self, user: identity_pb2.User, *scopes: str) -> Any:
        """Metadata of a call that this user makes."""
        identity = Identity(
            "api_gateway", self.store.org.org_id, user.id, user.role, scopes=scopes or ("*",)
        )
        return self.store.signer.metadata(identity)

    async def add(self, email: str, role: str = "developer", **fields: Any) -> identity_pb2.User:
        fields = fields or {"password": PASSWORD}
        request = identity_pb2.CreateUserRequest(email=email, role=role, **fields)
        return (await self.stub.CreateUser(request, metadata=self.store.person)).user

    async def sign_in(self, email: str, password: str = PASSWORD) -> identity_pb2.Tokens:
        request = identity_pb2.SignInRequest(
            email=email, password=password, network_address="192.0.2.1"
        )
        return (await self.stub.SignIn(request, metadata=self.store.service)).tokens

    async def refresh(self, token: str) -> identity_pb2.Tokens:
        request = identity_pb2.RefreshTokensRequest(refresh_token=token)
        return (await self.stub.RefreshTokens(request, metadata=self.store.service)).tokens

    async def whose(self, credential: str) -> identity_pb2.Principal:
        request = identity_pb2.AuthenticateRequest(credential=credential)
        return (await self.stub.Authenticate(request, metadata=self.store.service)).principal

    async def update(self, user: identity_pb2.User, metadata: Any = None, **changes: Any) -> Any:
        request = identity_pb2.UpdateUserRequest(id=user.id, **changes)
        return await self.stub.UpdateUser(request, metadata=metadata or self.store.person)

    async def make_key(self, metadata: Any, **fields: Any) -> identity_pb2.CreateApiKeyResponse:
        request = identity_pb2.CreateApiKeyRequest(name="key", **fields)
        return await self.stub.CreateApiKey(request, metadata=metadata)


@pytest.fixture
def people(store: StoreClient) -> People:
    return People(store)


# Sign-in ----------------------------------------------------------------------


async def test_a_password_gives_tokens_that_say_who_it_is(people: People) -> None:
    user = await people.add("ana@example.org")
    tokens = await people.sign_in("Ana@Example.org")
    principal = await people.whose(tokens.access_token)

    assert (principal.user_id, principal.role) == (user.id, "developer")
    assert principal.api_key_id == ""
    assert tokens.expires_in_seconds == 600


async def test_wrong_passwords_and_unknown_accounts_are_refused_alike(people: People) -> None:
    await people.add("ana@example.org")
    await people.add("bot@example.org", service_account=True)
    refused = [
        await refusal(people.sign_in(email, "wrong"))
        for email in ("ana@example.org", "nobody@example.org", "bot@example.org")
    ]

    assert {(e.status, e.reason, e.message) for e in refused} == {
        ("UNAUTHENTICATED", "INVALID_CREDENTIALS", refused[0].message)
    }


@pytest.mark.parametrize("email", ["ana@example.org", "nobody@example.org"])
async def test_who_fails_too_often_waits_whether_the_account_exists_or_not(
    people: People, email: str
) -> None:
    await people.add("ana@example.org")
    for _ in range(ACCOUNT_FAILURES):
        assert (await refusal(people.sign_in(email, "wrong"))).status == "UNAUTHENTICATED"
    throttled = await refusal(people.sign_in(email, PASSWORD))

    assert (throttled.status, throttled.reason) == ("RESOURCE_EXHAUSTED", "SIGN_IN_THROTTLED")
    assert throttled.retry_after_seconds is not None


async def test_a_right_password_forgives_earlier_failures(people: People) -> None:
    await people.add("ana@example.org")
    for _ in range(2):
        for _ in range(ACCOUNT_FAILURES - 1):
            await refusal(people.sign_in("ana@example.org", "wrong"))
        await people.sign_in("ana@example.org")


async def test_no_password_is_kept_in_clear(people: People, database_url: str) -> None:
    await people.add("ana@example.org")
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT password_hash FROM users WHERE name = ''").fetchall()
    assert any(row[0] and row[0].startswith("$argon2id$") for row in stored)
    assert PASSWORD not in str(stored)


# Refresh tokens ---------------------------------------------------------------


async def test_a_refresh_token_is_good_once_and_its_reuse_ends_all_of_its_family(
    people: People,
) -> None:
    await people.add("ana@example.org")
    first = await people.sign_in("ana@example.org")
    elsewhere = await people.sign_in("ana@example.org")
    second = await people.refresh(first.refresh_token)
    await people.whose(second.access_token)

    assert (await refusal(people.refresh(first.refresh_token))).status == "UNAUTHENTICATED"
    assert (await refusal(people.refresh(second.refresh_token))).status == "UNAUTHENTICATED"
    assert (await refusal(people.whose(second.access_token))).status == "UNAUTHENTICATED"
    await people.whose(elsewhere.access_token)


async def test_of_two_who_use_a_refresh_token_at_once_neither_keeps_the_sign_in(
    people: People,
) -> None:
    await people.add("ana@example.org")
    tokens = await people.sign_in("ana@example.org")
    used = await asyncio.gather(
        *(people.refresh(tokens.refresh_token) for _ in range(2)), return_exceptions=True
    )
    (renewed,) = [tokens for tokens in used if isinstance(tokens, identity_pb2.Tokens)]

    assert (await refusal(people.refresh(renewed.refresh_token))).status == "UNAUTHENTICATED"


async def test_signing_out_ends_the_access_token_too(people: People) -> None:
    await people.add("ana@example.org")
    tokens = await people.sign_in("ana@example.org")
    request = identity_pb2.SignOutRequest(refresh_token=tokens.refresh_token)
    for _ in range(2):
        await people.stub.SignOut(request, metadata=people.store.service)

    assert (await refusal(people.whose(tokens.access_token))).status == "UNAUTHENTICATED"
    assert (await refusal(people.refresh(tokens.refresh_token))).status == "UNAUTHENTICATED"


# Access tokens ----------------------------------------------------------------


def forgeries(token: str, jwk: dict[str, Any]) -> dict[str, str]:
    """Return tokens that look like ours, each wrong in one way."""
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    stranger = Ed25519PrivateKey.generate()
    kid = {"kid": header["kid"], "typ": "at+jwt"}
    head, body, signature = token.split(".")
    public = base64url_decode(jwk["x"])
    return {
        "unsigned": jwt.encode(claims, None, algorithm="none", headers=kid),
        "signed by a stranger": jwt.encode(claims, stranger, algorithm="EdDSA", headers=kid),
        "signed with the public key as a secret": jwt.encode(
            claims, public, algorithm="HS256", headers=kid
        ),
        "of an unknown key": jwt.encode(
            claims, stranger, algorithm="EdDSA", headers={**kid, "kid": "other"}
        ),
        "of another type": jwt.encode(
            claims, stranger, algorithm="EdDSA", headers={**kid, "typ": "JWT"}
        ),
        "changed": f"{head}.{body[:-4]}AAAA.{signature}",
        "without a signature": f"{head}.{body}.",
        "not base64": "a.b.c",
        "empty parts": "..",
    }


async def test_forged_access_tokens_are_refused(people: People) -> None:
    await people.add("ana@example.org")
    token = (await people.sign_in("ana@example.org")).access_token
    answer = await people.stub.GetKeySet(
        identity_pb2.GetKeySetRequest(), metadata=people.store.service
    )
    (jwk,) = json.loads(answer.jwks_json)["keys"]

    assert jwk["kty"] == "OKP"
    assert "d" not in jwk
    for what, forged in forgeries(token, jwk).items():
        assert (await refusal(people.whose(forged))).status == "UNAUTHENTICATED", what


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 1},
        {"aud": "another"},
        {"iss": "another"},
        {"exp": None},
        {"sid": None},
        {"sid": "nonsense"},
        {"iat": int(time.time()) + 3600},
    ],
)
async def test_tokens_of_our_own_key_with_other_claims_are_refused(
    people: People, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = jwt.encode

    def with_other_claims(claims: dict[str, Any], *args: Any, **kwargs: Any) -> str:
        if "sid" in claims:
            claims = {k: v for k, v in {**claims, **changed}.items() if v is not None}
        return encode(claims, *args, **kwargs)

    await people.add("ana@example.org")
    monkeypatch.setattr(jwt, "encode", with_other_claims)
    token = (await people.sign_in("ana@example.org")).access_token
    monkeypatch.undo()

    assert (await refusal(people.whose(token))).status == "UNAUTHENTICATED"


async def test_a_key_that_has_stopped_signing_verifies_on_and_its_successor_signs(
    people: People, database_url: str, tmp_path: Path
) -> None:
    await people.add("ana@example.org")
    old = (await people.sign_in("ana@example.org")).access_token
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE signing_keys SET signs_until = now() - interval '1 second'")
    async with serving_store(database_url, tmp_path) as replica:
        new = (await People(replica).sign_in("ana@example.org")).access_token
        await People(replica).whose(old)

    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]


async def test_a_signing_key_that_nobody_can_open_verifies_on_and_another_signs(
    database_url: str, tmp_path: Path
) -> None:
    first, other = [base64.urlsafe_b64encode(os.urandom(32)).decode() for _ in range(2)]
    async with serving_store(database_url, tmp_path, secrets_key=first) as store:
        await People(store).add("ana@example.org")
        old = (await People(store).sign_in("ana@example.org")).access_token
    async with serving_store(database_url, tmp_path, secrets_key=f"{other},{first}") as store:
        same = (await People(store).sign_in("ana@example.org")).access_token
    async with serving_store(database_url, tmp_path, secrets_key=other) as store:
        new = (await People(store).sign_in("ana@example.org")).access_token
        await People(store).whose(old)

    kids = [jwt.get_unverified_header(token)["kid"] for token in (old, same, new)]
    assert kids[0] == kids[1] != kids[2]


# Users ------------------------------------------------------------------------


async def test_a_user_goes_with_keys_that_have_budgets(people: People, database_url: str) -> None:
    user = await people.add("ana@example.org")
    key = (await people.make_key(people.acting(user))).api_key
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO budgets (org_id, api_key_id, period, max_tokens) VALUES (%s, %s, 'day', 1)",
            [people.store.org.org_id, key.id],
        )
    request = identity_pb2.DeleteUserRequest(id=user.id)
    await people.stub.DeleteUser(request, metadata=people.store.person)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT FROM budgets").fetchall() == []


async def test_a_disabled_user_is_out_at_once_with_keys_and_tokens(people: People) -> None:
    user = await people.add("ana@example.org")
    key = (await people.make_key(people.acting(user))).secret
    tokens = await people.sign_in("ana@example.org")
    await people.update(user, disabled=True)
    refused = [
        await refusal(people.whose(key)),
        await refusal(people.whose(tokens.access_token)),
        await refusal(people.refresh(tokens.refresh_token)),
        await refusal(people.sign_in("ana@example.org")),
    ]
    assert {error.status for error in refused} == {"UNAUTHENTICATED"}
    await people.update(user, disabled=False)
    await people.whose(key)
    assert (await refusal(people.whose(tokens.access_token))).status == "UNAUTHENTICATED"


async def test_another_role_counts_from_the_next_question_on(people: People) -> None:
    user = await people.add("ana@example.org")
    token = (await people.sign_in("ana@example.org")).access_token
    await people.update(user, role="viewer")
    assert (await people.whose(token)).role == "viewer"


async def test_the_last_owner_stays(people: People) -> None:
    listed = await people.stub.ListUsers(
        identity_pb2.ListUsersRequest(), metadata=people.store.person
    )
    (owner,) = listed.users
    remove = identity_pb2.DeleteUserRequest(id=owner.id)
    for call in (
        people.update(owner, role="admin"),
        people.update(owner, disabled=True),
        people.stub.DeleteUser(remove, metadata=people.store.person),
    ):
        assert (await refusal(call)).reason == "LAST_OWNER"
    await people.update(owner, name="Olga")


async def test_of_two_owners_who_remove_each_other_one_stays(people: People) -> None:
    other = await people.add("other@example.org", "owner")
    mine = identity_pb2.DeleteUserRequest(id=people.store.org.user_id)
    theirs = identity_pb2.DeleteUserRequest(id=other.id)
    outcomes = await asyncio.gather(
        people.stub.DeleteUser(theirs, metadata=people.store.person),
        people.stub.DeleteUser(mine, metadata=people.acting(other)),
        return_exceptions=True,
    )
    assert sum(isinstance(o, grpc.aio.AioRpcError) for o in outcomes) == 1


async def test_only_owners_touch_owners(people: People) -> None:
    admin = await people.add("admin@example.org", "admin")
    owner = await people.add("owner2@example.org", "owner")
    acting = people.acting(admin)
    create = identity_pb2.CreateUserRequest(email="x@example.org", role="owner")
    for call in (
        people.stub.CreateUser(create, metadata=acting),
        people.update(owner, acting, password=PASSWORD),
        people.update(owner, acting, role="viewer"),
        people.update(admin, acting, role="owner"),
        people.stub.DeleteUser(identity_pb2.DeleteUserRequest(id=owner.id), metadata=acting),
    ):
        assert (await refusal(call)).status == "PERMISSION_DENIED"


async def test_an_address_is_one_account_however_it_is_written(people: People) -> None:
    await people.add("ana@example.org")
    assert (await refusal(people.add("ANA@example.org"))).status == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"email": "nobody", "role": "viewer"}, "email"),
        ({"email": "a b@example.org", "role": "viewer"}, "email"),
        ({"email": "a@example.org", "role": "king"}, "role"),
        ({"email": "a@example.org", "role": "viewer", "name": "a\nb"}, "name"),
        ({"email": "a@example.org", "role": "viewer", "password": "short"}, "password"),
        ({"email": "a@example.org", "role": "viewer", "password": "x" * 1025}, "password"),
        (
            {
                "email": "a@example.org",
                "role": "viewer",
                "password": PASSWORD,
                "service_account": True,
            },
            "password",
        ),
    ],
)
async def test_faults_of_a_new_user_are_named(
    people: People, fields: dict[str, Any], field: str
) -> None:
    request = identity_pb2.CreateUserRequest(**fields)
    error = await refusal(people.stub.CreateUser(request, metadata=people.store.person))
    assert [violation.field for violation in error.violations] == [field]


async def test_people_change_their_own_password_with_the_old_one(people: People) -> None:
    user = await people.add("ana@example.org")
    tokens = await people.sign_in("ana@example.org")
    wrong = identity_pb2.ChangePasswordRequest(current_password="no", new_password=PASSWORD * 2)
    right = identity_pb2.ChangePasswordRequest(current_password=PASSWORD, new_password=PASSWORD * 2)
    refused = await refusal(people.stub.ChangePassword(wrong, metadata=people.acting(user)))
    await people.stub.ChangePassword(right, metadata=people.acting(user))

    assert [violation.field for violation in refused.violations] == ["current_password"]
    assert (await refusal(people.whose(tokens.access_token))).status == "UNAUTHENTICATED"
    await people.sign_in("ana@example.org", PASSWORD * 2)


# Keys -------------------------------------------------------------------------


async def test_a_key_with_scopes_does_only_that(people: People) -> None:
    user = await people.add("ana@example.org")
    made = await people.make_key(people.acting(user), scopes=["runs.read"])
    principal = await people.whose(made.secret)
    acting = people.acting(user, *principal.scopes)
    listing = people.store.runs.ListRuns(agent_pb2.ListRunsRequest(), metadata=acting)
    cancelling = people.store.runs.CancelRun(agent_pb2.CancelRunRequest(), metadata=acting)

    await listing
    assert "scopes" in (await refusal(cancelling)).message


async def test_a_key_with_scopes_makes_no_mightier_key(people: People) -> None:
    user = await people.add("ana@example.org")
    narrow = people.acting(user, "keys.own", "runs.read")
    same = await people.make_key(narrow)

    assert list(same.api_key.scopes) == ["keys.own", "runs.read"]
    for scopes in (["*"], ["runs.*"], ["crews.write"]):
        assert (await refusal(people.make_key(narrow, scopes=scopes))).status == "PERMISSION_DENIED"


async def test_an_expired_key_is_refused(people: People, database_url: str) -> None:
    user = await people.add("ana@example.org")
    request = identity_pb2.CreateApiKeyRequest(name="short-lived")
    request.expires_at.FromSeconds(int(time.time()) + 3600)
    made = await people.stub.CreateApiKey(request, metadata=people.acting(user))
    await people.whose(made.secret)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() WHERE name = 'short-lived'")

    assert (await refusal(people.whose(made.secret))).status == "UNAUTHENTICATED"


async def test_a_key_that_has_expired_already_or_has_unknown_scopes_is_not_made(
    people: People,
) -> None:
    past = identity_pb2.CreateApiKeyRequest(name="past")
    past.expires_at.FromSeconds(1)
    unknown = identity_pb2.CreateApiKeyRequest(name="unknown", scopes=["runs.fly", "x"])
    for request, faults in ((past, ["expires_at"]), (unknown, ["scopes", "scopes"])):
        error = await refusal(people.stub.CreateApiKey(request, metadata=people.store.person))
        assert [violation.field for violation in error.violations] == faults


async def test_admins_make_keys_for_service_accounts_and_for_nobody_else(people: People) -> None:
    admin = await people.add("admin@example.org", "admin")
    person = await people.add("ana@example.org")
    robot = await people.add("bot@example.org", "developer", service_account=True)
    boss = await people.add("boss@example.org", "owner", service_account=True)
    made = await people.make_key(people.acting(admin), user_id=robot.id)

    assert (await people.whose(made.secret)).user_id == robot.id
    for user in (person, boss):
        call = people.make_key(people.acting(admin), user_id=user.id)
        assert (await refusal(call)).status == "NOT_FOUND"
    call = people.make_key(people.acting(person), user_id=robot.id)
    assert (await refusal(call)).status == "PERMISSION_DENIED"


async def test_people_see_and_revoke_their_own_keys_only(people: People) -> None:
    ana, bob = await people.add("ana@example.org"), await people.add("bob@example.org")
    hers = (await people.make_key(people.acting(ana))).api_key
    await people.make_key(people.acting(bob))
    listed = await people.stub.ListApiKeys(
        identity_pb2.ListApiKeysRequest(), metadata=people.acting(ana)
    )
    revoke = identity_pb2.RevokeApiKeyRequest(id=hers.id)

    assert [key.id for key in listed.api_keys] == [hers.id]
    refused = await refusal(people.stub.RevokeApiKey(revoke, metadata=people.acting(bob)))
    assert refused.status == "NOT_FOUND"
    everybodys = await people.stub.ListApiKeys(
        identity_pb2.ListApiKeysRequest(), metadata=people.store.person
    )
    assert len(everybodys.api_keys) == 3
