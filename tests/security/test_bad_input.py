"""The corpus of bad input: each is refused clearly, and nothing of it is stored."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crewmesh_store.database import Database
from crewmesh_store.identity.signing import KeyRing, vault_of_signing_keys
from tests.conftest import API_KEY, MESH_SECRET
from tests.security import cases
from tests.security.cases import Case
from tests.security.conftest import SECRETS_KEY, Front
from tests.security.counts import count

# What is written where nothing was asked to be stored.
NOT_STORED = {"request_counts", "sign_in_failures", "signing_keys", "workers"}
ISSUER = "crewmesh"


def rows(database_url: str) -> dict[str, int]:
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # type: ignore[call-overload,index]
            for (name,) in tables
            if name not in NOT_STORED
        }


async def refused(front: Front, case: Case) -> str | None:
    """Return what is wrong with the answer to a case, or None."""
    answer = await front.http.request(
        case.method,
        case.path,
        content=case.content,
        headers={name: value.encode() for name, value in case.headers.items()},
    )
    if not 400 <= answer.status_code < 500 or answer.status_code == 429:
        return f"{case.name}: {answer.status_code} {answer.text[:200]}"
    if answer.headers["content-type"] != "application/problem+json":
        return f"{case.name}: no problem but {answer.headers['content-type']}"
    problem = answer.json()
    if not problem["detail"] or problem["request_id"] != answer.headers["x-request-id"]:
        return f"{case.name}: unclear: {problem}"
    return None


@pytest.mark.parametrize(
    "corpus", [cases.bodies, cases.parameters, cases.uploads, cases.definitions]
)
async def test_bad_input_is_refused_and_leaves_nothing(
    front: Front, corpus: Callable[[], Iterator[Case]]
) -> None:
    before = rows(front.database_url)
    corpus_cases = list(corpus())
    wrong = [fault for case in corpus_cases if (fault := await refused(front, case))]
    count(f"bad input: {corpus.__name__}", len(corpus_cases))

    assert not wrong, "\n".join(wrong)
    assert rows(front.database_url) == before
    assert (await front.http.get("/v1/me")).status_code == 200


def test_the_corpus_is_large_and_names_each_case_once() -> None:
    names = [
        case.name
        for corpus in (cases.bodies, cases.parameters, cases.uploads, cases.definitions)
        for case in corpus()
    ]
    assert len(names) >= 500
    assert len(set(names)) == len(names)


async def test_tokens_that_are_not_ours_let_nobody_in(front: Front) -> None:
    tokens = [f"Bearer {token}" for token in await forged(front)] + [
        *("Bearer", "bearer x y", "Basic YTpi", "Token x", "Bearer a.b.c", "Bearer ..."),
        *("Bearer null", "Bearer " + "x" * 2049, "Bearer cm_", "Bearer cm_" + "x" * 43, ""),
        *(f"Bearer {API_KEY[:-1]}", f"Bearer {API_KEY}x", f"Bearer {API_KEY.upper()}", API_KEY),
        *(
            "Bearer \u00fc",
            "Bearer ' OR 1=1 --",
            "Bearer eyJhbGciOiJub25lIn0..",
            f"Bearer,{API_KEY}",
        ),
    ]
    for token in tokens:
        headers = {"Authorization": token.encode()}
        answer = await front.http.get("/v1/me", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), token
        assert answer.headers["content-type"] == "application/problem+json"
    count("bad input: tokens", len(tokens))


async def forged(front: Front) -> list[str]:
    """Return tokens that differ from a good one in one thing each; the good one lets in."""
    ring, private, kid = await signing_key(front)
    user, org, now = front.store.org.user_id, front.store.org.org_id, int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": "crewmesh-api",
        "sub": user,
        "org": org,
        "sid": str(uuid.uuid4()),
        "jti": "x",
        "iat": now,
        "exp": now + 60,
    }
    head = {"kid": kid, "typ": "at+jwt"}

    def signed(
        changes: Any = None, headers: Any = None, key: Any = private, alg: str = "EdDSA"
    ) -> str:
        body = {n: v for n, v in {**claims, **(changes or {})}.items() if v is not None}
        return jwt.encode(body, key, algorithm=alg, headers={**head, **(headers or {})})

    # A good one of a sign-in that never was: verified as ours, and then unknown.
    assert await ring.verify(signed()) == uuid.UUID(claims["sid"])
    public = private.public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    stranger = Ed25519PrivateKey.generate()
    good = signed()
    header, payload, signature = good.split(".")
    return [
        good,
        *(
            signed({"iss": "another"}),
            signed({"aud": "crewmesh-mesh"}),
            signed({"aud": ["a", "b"]}),
        ),
        *(signed({"exp": now - 3600}), signed({"nbf": now + 3600}), signed({"iat": now + 3600})),
        *(signed({claim: None}) for claim in claims),
        *(signed({"sid": "x"}), signed({"sid": "' OR 1=1"}), signed({"exp": "soon"})),
        *(signed(headers={"typ": typ}) for typ in ("JWT", "", "rt+jwt")),
        *(signed(headers={"kid": k}) for k in ("other", "", "../../dev/null", "' OR 1=1", "\x00")),
        signed(headers={"jwk": {"kty": "OKP"}, "kid": "other"}),
        signed(headers={"jku": "https://example.org/jwks.json", "kid": "other"}),
        signed(key=stranger),
        signed(key=None, alg="none"),
        *(signed(key=raw, alg=alg) for alg in ("HS256", "HS384", "HS512")),
        signed(key=MESH_SECRET, alg="HS256"),
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}..{signature}",
        f".{payload}.{signature}",
        f"{header}.{payload}.{signature}.{signature}",
        f"{header}.{payload[:-2]}.{signature}",
        # The mesh's own statements are for its services only.
        front.store.signer.token(front.store.org),
    ]


async def signing_key(front: Front) -> tuple[KeyRing, Ed25519PrivateKey, str]:
    """Return the mesh's own keys, and the one that it signs with."""
    database = Database(front.database_url, 2)
    await database.open()
    ring = KeyRing(database, vault_of_signing_keys(SECRETS_KEY, MESH_SECRET), ISSUER)
    await ring.rotate()
    await database.close()
    key_id, private = ring._signer  # type: ignore[misc]
    return ring, private, key_id


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.csv", "..\\..\\x.csv", "/etc/x.csv", "C:\\x.csv"]
)
async def test_a_file_named_like_a_path_is_only_named_so(front: Front, name: str) -> None:
    part = f'form-data; name="file"; filename="{name}"'
    headers = {"Content-Type": f"multipart/form-data; boundary={cases.BOUNDARY}"}
    content = cases.form((part, b'a\n"=HYPERLINK(""http://x"")"\n<script>\n'))
    made = (await front.http.post("/v1/datasets", content=content, headers=headers)).json()
    given = await front.http.get(f"/v1/datasets/{made['id']}/content")
    await front.http.delete(f"/v1/datasets/{made['id']}")

    assert made["name"] in ("passwd.csv", "x.csv")
    # What looks like a formula, or a page, is given back as it came: to be kept, not to be shown.
    assert given.headers["content-disposition"].startswith("attachment;")
    assert given.headers["content-type"].startswith("text/csv")
    assert given.headers["content-security-policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize("path", ["/v1/me", "/v1/nothing", "/healthz", "/docs", "/", "/metrics"])
async def test_no_answer_is_to_be_taken_for_another_type(front: Front, path: str) -> None:
    answer = await front.http.get(path)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
