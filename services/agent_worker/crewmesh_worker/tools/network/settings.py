"""What the operator has set for tools that reach the network, as runs see it.

The worker's settings of the same names are handed to runs as environment variables.
"""

from __future__ import annotations

import os
from importlib.metadata import version

# How requests name themselves, to hosts and in their robots.txt.
PRODUCT = "Crewmesh"

# Name of the worker's setting: its default.
ADDRESSES = {
    "weather_url": "https://api.open-meteo.com",
    "geocoding_url": "https://geocoding-api.open-meteo.com",
    "encyclopedia_url": "https://en.wikipedia.org",
    "currency_url": "https://api.frankfurter.dev",
}
CONTACT = "network_contact"
PRIVATE = "private_network"


def variable(setting: str) -> str:
    """Return the environment variable of a setting."""
    return f"CREWMESH_{setting.upper()}"


def address(setting: str) -> str:
    """Return the base address of an external API, without a slash at its end."""
    return os.environ.get(variable(setting), ADDRESSES[setting]).rstrip("/")


def user_agent() -> str:
    """Return how requests introduce themselves to hosts."""
    contact = os.environ.get(variable(CONTACT), "")
    return f"{PRODUCT}/{version('crewmesh-worker')}" + (f" (+{contact})" if contact else "")


def private_network() -> bool:
    """Return whether the operator lets tools into private networks at all."""
    return os.environ.get(variable(PRIVATE), "") == "true"
