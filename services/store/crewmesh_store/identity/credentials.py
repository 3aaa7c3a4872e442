"""API keys and refresh tokens: how they look and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets

_KEY_PREFIX = "cm_"
_REFRESH_PREFIX = "cmr_"
_SHOWN_CHARACTERS = 10


def new_key() -> str:
    """Return a new API key of 256 random bits."""
    return _KEY_PREFIX + secrets.token_urlsafe(32)


def new_refresh_token() -> str:
    """Return a new refresh token of 256 random bits."""
    return _REFRESH_PREFIX + secrets.token_urlsafe(32)


def is_access_token(credential: str) -> bool:
    """Tell an access token, which is a JWT, from an API key."""
    return credential.count(".") == 2


def hash_of(secret: str) -> bytes:
    """Return what is stored instead of a key or a token.

    A fast hash: what has 256 random bits can't be guessed, however fast guesses are.
    """
    return hashlib.sha256(secret.encode()).digest()


def prefix_of(key: str) -> str:
    """Return what is shown of a key, so that people can tell theirs apart."""
    return key[:_SHOWN_CHARACTERS]
