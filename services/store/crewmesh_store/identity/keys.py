"""API keys: how they look and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets

_PREFIX_CHARACTERS = 10


def new_key() -> str:
    """Return a new key of 256 random bits."""
    return "cm_" + secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """Return what is stored instead of the key."""
    return hashlib.sha256(key.encode()).digest()


def prefix_of(key: str) -> str:
    """Return what is shown of a key, so that people can tell theirs apart."""
    return key[:_PREFIX_CHARACTERS]
