"""Standard Webhooks signatures, symmetric v1: on customs' callbacks (contract section 4), and on ours.

Checked over the raw bytes, in constant time, against every secret that is valid now. Whatever a
stranger puts in the headers ends as `SignatureRefused`, never as another exception.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

TOLERANCE_SECONDS: Final = 300
"""A signed callback is good for five minutes either way (Standard Webhooks, contract 4)."""

ID_LIMIT: Final = 255
_PREFIX: Final = "whsec_"


class SignatureRefused(Exception):
    """Not from whom it says: missing, malformed, stale or wrongly signed."""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature of the `webhook-signature` header; several are separated by spaces."""
    return f"v1,{b64encode(_mac(decode_secret(secret), message_id, str(timestamp), body)).decode()}"


def verify(
    secrets: Iterable[str],
    message_id: str,
    timestamp: str,
    signatures: str,
    body: bytes,
    now: float,
) -> None:
    """Accept a message or raise `SignatureRefused`. Times are Unix seconds."""
    if not 0 < len(message_id) <= ID_LIMIT:
        raise SignatureRefused("webhook-id")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 16):  # noqa: PLR2004
        raise SignatureRefused("webhook-timestamp")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureRefused("webhook-timestamp out of tolerance")
    given = [s.removeprefix("v1,").encode() for s in signatures.split(" ") if s.startswith("v1,")]
    accepted = False
    for secret in secrets:
        wanted = b64encode(_mac(decode_secret(secret), message_id, timestamp, body))
        for signature in given:
            accepted |= hmac.compare_digest(wanted, signature)
    if not accepted:
        raise SignatureRefused("webhook-signature")


def decode_secret(secret: str) -> bytes:
    """The key in a `whsec_…` secret. Raises ValueError when it is none."""
    try:
        return b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error


def _mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return hmac.new(key, signed, hashlib.sha256).digest()
