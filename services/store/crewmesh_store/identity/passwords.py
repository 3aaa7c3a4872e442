"""Passwords: argon2id, a few at a time, and as long for an account that doesn't exist."""

from __future__ import annotations

import asyncio
import functools
import os
from typing import Final

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from crewmesh.common.errors import InvalidInputError, Violation

_LEAST_CHARACTERS = 12
# Longer ones would only keep the processor busy.
_MOST_CHARACTERS = 1024

_HASHER: Final = PasswordHash((Argon2Hasher(),))


def check_password(password: str, field: str = "password") -> None:
    """Raise InvalidInputError for a password that is too short or too long (NIST SP 800-63B)."""
    if not _LEAST_CHARACTERS <= len(password) <= _MOST_CHARACTERS:
        raise InvalidInputError(
            "this can't be a password",
            violations=[Violation(field, f"{_LEAST_CHARACTERS} to {_MOST_CHARACTERS} characters")],
        )


@functools.cache
def _nobodys_hash() -> str:
    """Return the hash of a password that nobody knows; it costs as much as any."""
    return _HASHER.hash(os.urandom(16).hex())


class Passwords:
    """Hashes and verifies, in threads, one for each core: each takes 64 MiB and a core."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)
        self._nobodys = _nobodys_hash()

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        async with self._turns:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Return whether the password is right, and a new hash if the old one is out of date.

        Without a hash, for an account that has none or doesn't exist, it takes as long.
        """
        if len(password) > _MOST_CHARACTERS:
            return False, None
        async with self._turns:
            right, renewed = await asyncio.to_thread(
                _HASHER.verify_and_update, password, hashed or self._nobodys
            )
        return (right, renewed) if hashed else (False, None)
