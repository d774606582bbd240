"""Enveloped XML signatures by profile (contract section 1, "Signature").

A profile is data: URIs, the digest, the shape of the value. Another profile is a new row of
`PROFILES`, not new code here (a token may need its own mechanism: `customs.signing.pkcs11`). The document is
handed over in canonical form already, so the digest is over the very characters that are sent.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from customs.signing.certificates import key_name, load_certificate
from customs.signing.signer import Signer
from models.rules.card_errors import SigningError

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
C14N: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
ENVELOPED: Final = f"{DS}enveloped-signature"
SM2_USER_ID: Final = b"1234567812345678"


@dataclass(frozen=True, slots=True)
class SignatureProfile:
    """How a message is signed; `verify` raises `SigningError` when a signature is not right."""

    name: str
    signature_uri: str
    digest_uri: str
    digest: Callable[[], hashes.HashAlgorithm]
    verify: Callable[[bytes, bytes, bytes], None]
    """certificate (DER), data, signature"""


def _verify_rsa_sha256(certificate: bytes, data: bytes, signature: bytes) -> None:
    key = load_certificate(certificate).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise SigningError(detail="rsa-sha256: not an RSA certificate")
    try:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise SigningError(detail="signature does not verify with the certificate") from None


def _verify_sm2_sm3(certificate: bytes, data: bytes, signature: bytes) -> None:
    from customs.signing.sm2 import verify_sm2  # gmssl is an extra, needed by this profile alone

    if not verify_sm2(certificate, data, signature, SM2_USER_ID):
        raise SigningError(detail="signature does not verify with the certificate")


PROFILES: Final = {
    profile.name: profile
    for profile in (
        SignatureProfile(
            "rsa-sha256",
            "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            "http://www.w3.org/2001/04/xmlenc#sha256",
            hashes.SHA256,
            _verify_rsa_sha256,
        ),
        SignatureProfile(
            "sm2-sm3",
            "http://www.chinaport.gov.cn/2022/04/xmldsig#sm2-sm3",
            "http://www.chinaport.gov.cn/2022/04/xmldsig#sm3",
            hashes.SM3,
            _verify_sm2_sm3,
        ),
    )
}


def sign_enveloped(
    document: str, namespace: str, signer: Signer, profile: SignatureProfile
) -> bytes:
    """`document` (canonical, its root in `namespace`) with its signature as the root's last child.

    The signature is verified with the certificate before it is given away.
    """
    head, end = document.rsplit("</", 1)
    digest = b64encode(_digest(profile, document.encode())).decode()
    info = (
        f'<ds:CanonicalizationMethod Algorithm="{C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{profile.signature_uri}"></ds:SignatureMethod>'
        f'<ds:Reference URI=""><ds:Transforms><ds:Transform Algorithm="{ENVELOPED}">'
        f'</ds:Transform></ds:Transforms><ds:DigestMethod Algorithm="{profile.digest_uri}">'
        f"</ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
        "</ds:SignedInfo>"
    )
    # Canonical XML repeats, on the root of the subset, every namespace that is in scope there.
    signed_info = f'<ds:SignedInfo xmlns="{namespace}" xmlns:ds="{DS}">{info}'.encode()
    signature = signer.sign(signed_info)
    certificate = signer.certificate_der()
    profile.verify(certificate, signed_info, signature)
    return (
        f'{head}<ds:Signature xmlns:ds="{DS}"><ds:SignedInfo>{info}'
        f"<ds:SignatureValue>{b64encode(signature).decode()}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:KeyName>{key_name(certificate)}</ds:KeyName><ds:X509Data>"
        f"<ds:X509Certificate>{b64encode(certificate).decode()}</ds:X509Certificate>"
        f"</ds:X509Data></ds:KeyInfo></ds:Signature></{end}"
    ).encode()


def _digest(profile: SignatureProfile, data: bytes) -> bytes:
    digest = hashes.Hash(profile.digest())
    digest.update(data)
    return digest.finalize()
