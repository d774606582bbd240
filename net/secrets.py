"""Secrets of endpoints: derived from one key, so that no table holds a secret. Pure.

The key is a setting or a file; an endpoint's row holds a random salt and how many secrets it had. Who
reads the database alone cannot sign.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode


def endpoint_secret(key: bytes, salt: str, generation: int) -> str:
    """The secret of an endpoint as Standard Webhooks spells it: `whsec_` and 32 bytes in base64."""
    mac = hmac.new(key, f"endpoint {salt} {generation}".encode(), hashlib.sha256)
    return f"whsec_{b64encode(mac.digest()).decode()}"


def key_mark(key: bytes) -> str:
    """Names a key without telling it: a process with another key must not sign."""
    return hashlib.sha256(b"blankforms notification key " + key).hexdigest()[:16]
