"""Which addresses tools may connect to."""

from __future__ import annotations

import ipaddress

import pytest

from crewmesh_worker.tools.network.addresses import refusal

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "2001:4860:4860::8888",
    "2001:200::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]
# Those which a tenant's own network may have.
OWN = [
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("::1", "loopback"),
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("192.168.255.255", "private"),
    ("fc00::1", "private"),
    ("fd12:3456:789a::1", "private"),
    ("100.64.0.1", "carrier"),
    ("100.127.255.255", "carrier"),
    ("::ffff:127.0.0.1", "loopback, by way of 127.0.0.1"),
    ("::ffff:10.1.2.3", "private, by way of 10.1.2.3"),
    ("::ffff:c0a8:101", "private, by way of 192.168.1.1"),
    ("64:ff9b::10.0.0.1", "private, by way of 10.0.0.1"),
    ("64:ff9b::7f00:1", "loopback, by way of 127.0.0.1"),
]
NEVER = [
    ("169.254.169.254", "metadata"),
    ("169.254.0.1", "metadata"),
    ("169.254.170.2", "metadata"),
    ("168.63.129.16", "metadata"),
    ("100.100.100.200", "metadata"),
    ("192.0.0.192", "metadata"),
    ("fd00:ec2::254", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("::ffff:169.254.169.254", "metadata"),
    ("64:ff9b::a9fe:a9fe", "metadata"),
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("::", "unspecified"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("fec0::1", "link-local"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("ff02::1", "multicast"),
    ("255.255.255.255", "broadcast"),
    ("192.0.2.1", "documentation"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.9", "documentation"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("192.0.0.1", "reserved"),
    ("192.88.99.1", "reserved"),
    ("240.0.0.1", "reserved"),
    ("254.255.255.255", "reserved"),
    ("100::1", "reserved"),
    ("100:0:0:1::1", "reserved"),
    ("2001::1", "reserved"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
    ("2001:10::1", "reserved"),
    ("5f00::1", "reserved"),
    ("2002:7f00:1::1", "tunnel"),
    ("2002:a9fe:a9fe::1", "tunnel"),
    ("64:ff9b:1::10.0.0.1", "tunnel"),
    ("::127.0.0.1", "tunnel"),
    ("::10.0.0.1", "tunnel"),
    ("::8.8.8.8", "tunnel"),
    ("2a00:1450::5efe:10.0.0.1", "tunnel"),
    ("2a00:1450::200:5efe:127.0.0.1", "tunnel"),
    ("::ffff:0:127.0.0.1", "not a public address"),
    ("4000::1", "not a public address"),
    ("e000::1", "not a public address"),
    ("2606:4700::1%1", "not a public address"),
]


@pytest.mark.parametrize("text", PUBLIC)
@pytest.mark.parametrize("private", [False, True])
def test_public_addresses_are_allowed(text: str, private: bool) -> None:
    assert refusal(ipaddress.ip_address(text), private=private) is None


@pytest.mark.parametrize(("text", "why"), OWN)
def test_private_addresses_are_refused_unless_the_policy_is_private(text: str, why: str) -> None:
    address = ipaddress.ip_address(text)
    refused = refusal(address)
    assert refused is not None
    assert why in refused
    assert refusal(address, private=True) is None


@pytest.mark.parametrize(("text", "why"), NEVER)
@pytest.mark.parametrize("private", [False, True])
def test_metadata_and_what_is_no_host_are_always_refused(
    text: str, why: str, private: bool
) -> None:
    refused = refusal(ipaddress.ip_address(text), private=private)
    assert refused is not None
    assert why in refused


@pytest.mark.parametrize("text", [text for text, _ in OWN + NEVER if ":" not in text])
def test_no_way_of_carrying_an_ipv4_address_in_an_ipv6_one_gets_it_through(text: str) -> None:
    number = int(ipaddress.IPv4Address(text))
    carriers = {
        "mapped": 0xFFFF << 32 | number,
        "compatible": number,
        "translated": 0x0064_FF9B << 96 | number,
        "local translation": 0x0064_FF9B_0001 << 80 | number,
        "6to4": 0x2002 << 112 | number << 80 | 1,
        "teredo server": 0x2001_0000 << 96 | number << 64 | 1,
        "teredo client": 0x2001_0000 << 96 | number ^ 0xFFFF_FFFF,
        "isatap": 0x2A00_1450 << 96 | 0x5EFE << 32 | number,
    }
    passed = [how for how, value in carriers.items() if not refusal(ipaddress.IPv6Address(value))]
    assert passed == []
