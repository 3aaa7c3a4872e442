"""Signatures of webhooks, after https://www.standardwebhooks.com."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"


def signed_headers(secret: str, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that let the receiver check who sent a body, and that it is new.

    Without a secret there is no signature. `timestamp` is in seconds since 1970. The id is the same whenever the same thing is sent
    again: it is the receiver's idempotency key.
    """
    headers = {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "Idempotency-Key": webhook_id,
    }
    if secret:
        signed = b".".join([webhook_id.encode(), str(timestamp).encode(), body])
        digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str) -> bytes:
    """Return a secret's bytes: whsec_ and base64, or any text as it is."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
