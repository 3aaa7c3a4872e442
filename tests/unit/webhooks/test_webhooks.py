from __future__ import annotations

import pytest

from crewmesh_worker.tools.network.policy import NetworkPolicy
from crewmesh_worker.webhooks.sending import Receipt, send
from crewmesh_worker.webhooks.signing import signed_headers


def test_the_signature_is_that_of_the_specifications_example() -> None:
    headers = signed_headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_any_text_is_a_secret_and_none_is_no_signature() -> None:
    assert "webhook-signature" in signed_headers("whsec_not base64", "id", 1, b"{}")
    assert "webhook-signature" not in signed_headers("", "id", 1, b"{}")


async def no_lookup(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} must not be looked up")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://example.com/",
        "http://user@example.com/",
        "http://127.0.0.1/",
        "http://localhost:8000/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_what_is_no_public_host_gets_nothing(url: str) -> None:
    receipt = await send(url, b"{}", {}, NetworkPolicy(), no_lookup)
    assert receipt.refused
    assert not receipt.worth_retrying


async def test_only_hosts_that_the_organisation_allows_get_something() -> None:
    policy = NetworkPolicy(allowed=("hooks.example.com",))
    receipt = await send("https://example.com/", b"{}", {}, policy, no_lookup)
    assert receipt.refused
    assert "hooks.example.com" in receipt.detail


async def test_a_name_that_means_this_machine_is_refused_after_its_look_up() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    receipt = await send("http://hooks.example.com:9000/", b"{}", {}, NetworkPolicy(), lookup)
    assert receipt.refused
    assert "127.0.0.1 is loopback" in receipt.detail


async def test_a_name_that_is_not_found_may_be_found_later() -> None:
    async def lookup(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    receipt = await send("http://hooks.example.com/", b"{}", {}, NetworkPolicy(), lookup)
    assert not receipt.refused
    assert receipt.worth_retrying


@pytest.mark.parametrize(
    ("status", "delivered", "again"),
    [(200, True, False), (204, True, False), (302, False, False), (404, False, False),
     (408, False, True), (429, False, True), (500, False, True), (0, False, True)],
)  # fmt: skip
def test_what_may_pass_is_worth_another_try(status: int, delivered: bool, again: bool) -> None:
    receipt = Receipt(status, "")
    assert (receipt.delivered, receipt.worth_retrying) == (delivered, again)
