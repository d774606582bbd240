"""Verification of SM2 signatures, for the profile `sm2-sm3` (install `blankforms[sm2]`)."""

from __future__ import annotations

from asn1crypto import x509
from gmssl import sm2

from models.rules.card_errors import SigningError

_SIGNATURE_BYTES = 64
_DEFAULT_USER_ID = b"1234567812345678"


def verify_sm2(certificate: bytes, data: bytes, signature: bytes, user_id: bytes) -> bool:
    """Whether r‖s (64 bytes) is a signature over `data` by the certificate's key, with SM3.

    Raises `SigningError` for a user id other than the standard one, which gmssl cannot take.
    """
    if user_id != _DEFAULT_USER_ID:
        raise SigningError(detail="sm2-sm3: user id")
    if len(signature) != _SIGNATURE_BYTES:
        return False
    info = x509.Certificate.load(certificate)["tbs_certificate"]["subject_public_key_info"]
    point = bytes(info["public_key"])[-_SIGNATURE_BYTES:]
    verifier = sm2.CryptSM2(private_key=None, public_key=point.hex())
    return bool(verifier.verify_with_sm3(signature.hex(), data))
