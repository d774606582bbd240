"""What is looked at in a signing certificate before a single message is spent (rule 6 of how-it-works.md).

Customs checks the certificate against the sender by its subject attribute organizationIdentifier,
2.5.4.97 (contract section 3); what it would refuse is named here first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from models.rules.card_errors import CardExpired, CardFault, CardNotYetValid, CardOfAnother


@lru_cache(maxsize=16)
def load_certificate(der: bytes) -> x509.Certificate:
    """The certificate, parsed once. Raises ValueError for what is none."""
    return x509.load_der_x509_certificate(der)


def key_name(der: bytes) -> str:
    """The certificate's serial number as upper-case hex, whole bytes: customs' name of the card."""
    return load_certificate(der).serial_number.to_bytes(20, "big").lstrip(b"\0").hex().upper()


def certificate_expiry(der: bytes) -> datetime:
    """When the signing certificate ends (UTC)."""
    return load_certificate(der).not_valid_after_utc


def fault_of(der: bytes, enterprise: str, now: datetime) -> CardFault | None:
    """Why customs would not take what this certificate signs for that enterprise; None when nothing is wrong."""
    certificate = load_certificate(der)
    if now < certificate.not_valid_before_utc:
        return CardNotYetValid(detail=f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if now > certificate.not_valid_after_utc:
        return CardExpired(detail=f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    named = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    codes = [str(attribute.value).strip().upper() for attribute in named]
    if enterprise not in codes:
        return CardOfAnother(detail=", ".join(codes) or "-")
    return None


def require_fit(der: bytes, enterprise: str, now: datetime) -> None:
    """Raise the `CardFault` that `fault_of` finds."""
    if fault := fault_of(der, enterprise, now):
        raise fault


def without_fault(ders: Iterable[bytes], enterprise: str, now: datetime) -> list[bytes]:
    """Those that nothing is wrong with."""
    return [der for der in ders if fault_of(der, enterprise, now) is None]
