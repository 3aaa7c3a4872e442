from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from crewmesh.common.errors import ForbiddenError
from crewmesh_gateway.browser.cookies import BrowserSession, SessionCookies
from crewmesh_gateway.browser.origin import is_secure, require_same_origin

NOW = 1_000_000.0
SECRET = "a-secret-of-the-mesh-0123456789abcdef"
SESSION = BrowserSession("cm_key", "refresh", NOW + 60, NOW + 3600)


def cookies(secret: str = SECRET, now: float = NOW) -> SessionCookies:
    return SessionCookies(secret, clock=lambda: now)


def written(by: SessionCookies, *, secure: bool = False) -> str:
    response = Response()
    by.write(response, SESSION, secure=secure)
    return response.headers["set-cookie"]


def sent(cookie: str) -> Headers:
    return Headers({"cookie": f"other=1; {cookie.partition(';')[0]}"})


@pytest.mark.parametrize("secure", [False, True])
def test_any_gateway_of_the_mesh_reads_what_one_has_written(secure: bool) -> None:
    assert cookies().read(sent(written(cookies(), secure=secure))) == SESSION


def test_the_cookie_shows_nothing_of_the_credential_and_differs_each_time() -> None:
    first, second = written(cookies()), written(cookies())
    assert first != second
    assert "cm_key" not in first


def test_scripts_and_other_sites_do_not_get_it() -> None:
    plain, secure = written(cookies()), written(cookies(), secure=True)
    for cookie in (plain, secure):
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite=strict", "path=/", "max-age=3600"} <= attributes
    assert "secure" not in plain.lower()
    assert secure.startswith("__Host-")
    assert "; Secure" in secure
    assert "domain" not in secure.lower()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value[:-4] + "AAAA",
        lambda value: value[:20],
        lambda value: "not base64 £",
        lambda value: "A" * 5000,
        lambda value: "",
    ],
)
def test_a_cookie_that_is_not_ours_is_none(spoil: object) -> None:
    name, value = written(cookies()).partition(";")[0].split("=", 1)
    assert cookies().read(Headers({"cookie": f"{name}={spoil(value)}"})) is None  # type: ignore[operator]


def test_another_meshs_cookie_is_none_and_has_another_name() -> None:
    cookie = written(cookies("another-secret-of-a-mesh-0123456789abcd"))
    assert cookies().read(sent(cookie)) is None
    assert cookie.partition("=")[0] != written(cookies()).partition("=")[0]


def test_a_session_ends_at_its_end_whatever_the_browser_does() -> None:
    cookie = written(cookies())
    assert cookies(now=NOW + 3599).read(sent(cookie)) == SESSION
    assert cookies(now=NOW + 3600).read(sent(cookie)) is None


def test_signing_out_removes_it() -> None:
    response = Response()
    cookies().clear(response, secure=False)
    (morsel,) = SimpleCookie(response.headers["set-cookie"]).values()
    assert morsel["max-age"] == "0"


@pytest.mark.parametrize(
    ("method", "headers", "taken"),
    [
        ("GET", {}, True),
        ("HEAD", {"sec-fetch-site": "cross-site"}, True),
        ("POST", {"sec-fetch-site": "same-origin"}, True),
        ("POST", {"sec-fetch-site": "same-site"}, False),
        ("POST", {"sec-fetch-site": "cross-site"}, False),
        ("POST", {"sec-fetch-site": "none"}, False),
        # What the browser says of the site counts for more than what Origin says.
        ("POST", {"sec-fetch-site": "cross-site", "origin": "http://mesh:8080"}, False),
        ("POST", {"origin": "http://mesh:8080"}, True),
        ("POST", {"origin": "https://mesh:8080"}, True),
        ("POST", {"origin": "http://mesh"}, False),
        ("POST", {"origin": "http://mesh.evil.example:8080"}, False),
        ("POST", {"origin": "null"}, False),
        ("POST", {}, False),
        ("DELETE", {}, False),
        ("PUT", {"origin": "http://evil.example"}, False),
        ("PATCH", {"origin": "http://evil.example"}, False),
    ],
)
def test_what_changes_something_comes_from_our_own_pages(
    method: str, headers: dict[str, str], taken: bool
) -> None:
    given = Headers({"host": "mesh:8080", **headers})
    if taken:
        require_same_origin(method, given)
    else:
        with pytest.raises(ForbiddenError):
            require_same_origin(method, given)


@pytest.mark.parametrize(
    ("origin", "secure"), [("https://mesh", True), ("http://mesh", False), ("", False)]
)
def test_the_browser_says_whether_it_came_by_https(origin: str, secure: bool) -> None:
    assert is_secure(Headers({"origin": origin})) is secure
