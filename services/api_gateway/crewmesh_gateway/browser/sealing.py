"""Values that a browser keeps and only gateways of this mesh can read and make."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES: Final = 12
_MAX_CHARACTERS: Final = 4096


class Sealer:
    """Encrypts JSON for one purpose; what was sealed for another doesn't open."""

    def __init__(self, mesh_secret: str, purpose: bytes) -> None:
        key = HKDF(hashes.SHA256(), length=32, salt=None, info=purpose).derive(mesh_secret.encode())
        self._cipher = AESGCM(key)
        self._purpose = purpose
        # Cookies know no port: two meshes of one machine have each its own.
        self.mark = hashlib.sha256(key).hexdigest()[:8]

    def seal(self, content: dict[str, Any]) -> str:
        """Return the content as letters and digits that mean nothing to anybody else."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, json.dumps(content).encode(), self._purpose)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, sealed: str) -> dict[str, Any] | None:
        """Return what was sealed; None for what wasn't sealed here."""
        if len(sealed) > _MAX_CHARACTERS:
            return None
        try:
            content = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            opened = self._cipher.decrypt(
                content[:_NONCE_BYTES], content[_NONCE_BYTES:], self._purpose
            )
        except (binascii.Error, ValueError, InvalidTag):
            return None
        value: dict[str, Any] = json.loads(opened)
        return value
