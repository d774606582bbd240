"""Secrets of endpoints, second factors and passages: derived from one key, so that no table holds a secret. Pure.

The key is a setting or a file; a row holds what tells its secret from others (a salt, a number) and how many
secrets it had. Who reads the database alone can neither sign nor sign in.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode, b64encode, urlsafe_b64encode


def endpoint_secret(key: bytes, salt: str, generation: int) -> str:
    """The secret of an endpoint as Standard Webhooks spells it: `whsec_` and 32 bytes in base64."""
    mac = hmac.new(key, f"endpoint {salt} {generation}".encode(), hashlib.sha256)
    return f"whsec_{b64encode(mac.digest()).decode()}"


def second_factor_secret(key: bytes, login: str, generation: int) -> str:
    """The secret that a person's second factor is computed of: 160 bits in base32 (RFC 4226 section 4)."""
    mac = hmac.new(key, f"second factor {login} {generation}".encode(), hashlib.sha256)
    return b32encode(mac.digest()[:20]).decode()


def passage_key(key: bytes) -> bytes:
    """The key that a browser's part of a sign-in by OIDC is encrypted under, as Fernet takes it."""
    return urlsafe_b64encode(hmac.new(key, b"oidc passage", hashlib.sha256).digest())


def key_mark(key: bytes) -> str:
    """Names a key without telling it: a process with another key must not sign."""
    return hashlib.sha256(b"blankforms notification key " + key).hexdigest()[:16]
