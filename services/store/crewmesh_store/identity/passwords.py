"""Passwords: argon2id, a few at a time, and as long for an account that doesn't exist."""

from __future__ import annotations

import asyncio
import os

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from crewmesh.common.errors import InvalidInputError, Violation

_LEAST_CHARACTERS = 12
# Longer ones would only keep the processor busy.
_MOST_CHARACTERS = 1024


def check_password(password: str, field: str = "password") -> None:
    """Raise InvalidInputError for a password that is too short or too long (NIST SP 800-63B)."""
    if not _LEAST_CHARACTERS <= len(password) <= _MOST_CHARACTERS:
        raise InvalidInputError(
            "this can't be a password",
            violations=[Violation(field, f"{_LEAST_CHARACTERS} to {_MOST_CHARACTERS} characters")],
        )


class Passwords:
    """Hashes and verifies, in threads, one for each core: each takes 64 MiB and a core."""

    def __init__(self) -> None:
        self._hasher = PasswordHash((Argon2Hasher(),))
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)
        self._nobodys = self._hasher.hash(os.urandom(16).hex())

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        async with self._turns:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, hashed: str | None) -> tuple[bool, str | None]:
        """Return whether the password is right, and a new hash if the old one is out of date.

        Without a hash, for an account that has none or doesn't exist, it takes as long.
        """
        if len(password) > _MOST_CHARACTERS:
            return False, None
        async with self._turns:
            right, renewed = await asyncio.to_thread(
                self._hasher.verify_and_update, password, hashed or self._nobodys
            )
        return (right, renewed) if hashed else (False, None)
