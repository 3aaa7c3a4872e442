from __future__ import annotations

import pytest

from crewmesh_worker.webhooks.guard import RefusedError, checked_url
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


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "ftp://example.com/",
        "http://",
        "http://user@example.com/",
        "http://127.0.0.1/",
        "http://[::1]:8080/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
    ],
)
def test_what_is_no_public_host_is_refused(url: str) -> None:
    with pytest.raises(RefusedError):
        checked_url(url, private=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/a", "http://10.1.2.3/", "http://[::1]/"])
def test_private_networks_are_reached_where_they_may_be(url: str) -> None:
    assert str(checked_url(url, private=True)) == url


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://0.0.0.0/"])
def test_metadata_and_no_address_at_all_are_never_reached(url: str) -> None:
    with pytest.raises(RefusedError):
        checked_url(url, private=True)


@pytest.mark.parametrize(
    "url", ["http://localhost:9/", "http://127.1:9/", "http://2130706433:9/", "http://0x7f.1:9/"]
)
async def test_a_name_that_means_this_machine_is_refused_after_its_look_up(url: str) -> None:
    receipt = await send(url, b"{}", {}, private=False)
    assert not receipt.delivered
    assert receipt.refused
    assert not receipt.worth_retrying


@pytest.mark.parametrize(
    ("status", "delivered", "again"),
    [(200, True, False), (204, True, False), (302, False, False), (404, False, False),
     (408, False, True), (429, False, True), (500, False, True), (0, False, True)],
)  # fmt: skip
def test_what_may_pass_is_worth_another_try(status: int, delivered: bool, again: bool) -> None:
    receipt = Receipt(status, "")
    assert (receipt.delivered, receipt.worth_retrying) == (delivered, again)
