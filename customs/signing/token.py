"""Which token, mechanism, key and certificate the settings mean; each way of not knowing has its own name.

Nothing here logs in. What waiting cannot mend is a `CardFault`; a token that is not there is a plain
`SigningError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, Mechanism, ObjectClass, TokenFlag
from pkcs11.exceptions import PKCS11Error

from customs.signing.certificates import key_name, load_certificate, without_fault
from models.rules.card_errors import (
    CardCertificateMissing,
    CardCertificatesAmbiguous,
    CardKeyMissing,
    CardKeysAmbiguous,
    CardLabelNotFound,
    CardMechanismMissing,
    CardPinEachTime,
    CardsAmbiguous,
    SigningError,
)

SM2_SM3: Final = "sm2-sm3"


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which token, which key, how to sign, for whom. The PIN is never shown."""

    module: Path
    token_label: str
    key_label: str
    read_pin: Callable[[], str] = field(repr=False)
    """Read at each login, so that a corrected file is enough. May raise OSError and ValueError."""
    enterprise: str
    """USCC of the sender, to choose between certificates that fit the key."""
    profile: str = "rsa-sha256"
    vendor_mechanism: int | None = None
    token_serial: str = ""
    key_id: str = ""
    """Hex; empty: by the label alone."""
    certificate_serial: str = ""
    """Hex, as `key_name` writes it; empty: the one that fits."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token that fits, as it shows itself without a PIN."""

    token: Any
    mechanism: Mechanism
    view: tuple[object, ...]
    """What was seen: while it stays the same, so does a fault that was found behind the login."""


def choose_token(settings: TokenSettings) -> Chosen:
    """The one token that the settings mean, with the mechanism to sign with.

    Raises `CardLabelNotFound`, `CardsAmbiguous`, `CardMechanismMissing`; `SigningError` when there is no
    token at all. Raises `PKCS11Error` as the module does.
    """
    tokens = [
        token
        for token in pkcs11.lib(str(settings.module)).get_tokens()
        if token.flags & TokenFlag.TOKEN_INITIALIZED or token.label.strip()
    ]
    if not tokens:
        raise SigningError(detail="no token")
    fitting = [
        token
        for token in tokens
        if token.label.rstrip() == settings.token_label
        and settings.token_serial in {"", _serial(token)}
    ]
    if not fitting:
        seen = ", ".join(f"{token.label.rstrip()} ({_serial(token)})" for token in tokens)
        raise CardLabelNotFound(detail=seen)
    if len(fitting) > 1:
        raise CardsAmbiguous(detail=", ".join(map(_serial, fitting)))
    (token,) = fitting
    mechanism = _mechanism(settings, token)
    return Chosen(token, mechanism, (_serial(token), mechanism, _public_certificates(token)))


def choose_key(settings: TokenSettings, session: Any) -> Any:
    """The one private key that the settings mean, in a session that is logged in.

    Raises `CardKeyMissing`, `CardKeysAmbiguous`, `CardPinEachTime`.
    """
    keys = list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
    wanted = bytes.fromhex(settings.key_id)
    fitting = [
        key
        for key in keys
        if settings.key_label in {"", key.label.rstrip()} and (not wanted or key.id == wanted)
    ]
    if not fitting:
        raise CardKeyMissing(detail=_keys(keys))
    if len(fitting) > 1:
        raise CardKeysAmbiguous(detail=_keys(fitting))
    (key,) = fitting
    if _read(key, Attribute.ALWAYS_AUTHENTICATE):
        raise CardPinEachTime(detail=_keys([key]))
    return key


def choose_certificate(settings: TokenSettings, session: Any, key: Any) -> bytes:
    """The certificate of that key, DER: by its public key where the card tells it, else by the id.

    Of several, the one that customs would take for the sender today. Raises `CardCertificateMissing`,
    `CardCertificatesAmbiguous`.
    """
    found = _certificates(session)
    modulus = None if settings.profile == SM2_SM3 else _read(key, Attribute.MODULUS)
    fitting = [
        der
        for der, its_id in found
        if (_modulus(der) == int.from_bytes(modulus, "big") if modulus else its_id == key.id)
        and settings.certificate_serial in {"", key_name(der)}
    ]
    if not fitting:
        raise CardCertificateMissing(detail=_names(der for der, _ in found))
    if len(fitting) > 1:
        good = without_fault(fitting, settings.enterprise, datetime.now(UTC))
        if len(good) > 1:
            raise CardCertificatesAmbiguous(detail=_names(good))
        fitting = good or fitting
    return fitting[0]


def likely_certificate(settings: TokenSettings, chosen: Chosen) -> bytes:
    """The certificate that the key would sign with, as far as it can be told without a PIN.

    Raises `CardCertificateMissing` when none is shown.
    """
    shown = [
        der
        for der in _public_certificates(chosen.token)
        if settings.certificate_serial in {"", key_name(der)}
    ]
    if not shown:
        raise CardCertificateMissing(detail=_names(_public_certificates(chosen.token)))
    return [*without_fault(shown, settings.enterprise, datetime.now(UTC)), *shown][0]


def _mechanism(settings: TokenSettings, token: Any) -> Mechanism:
    """How this token signs. `RSA_PKCS` alone: the DigestInfo is made by us (`pkcs11.py`)."""
    offered = token.slot.get_mechanisms()
    if settings.profile == SM2_SM3:
        wanted = [] if settings.vendor_mechanism is None else [settings.vendor_mechanism]
        if not wanted or not {int(m) for m in offered} & set(wanted):
            raise CardMechanismMissing(detail=", ".join(map(hex, wanted)) or SM2_SM3)
        return vendor_mechanism(wanted[0])
    for mechanism in (Mechanism.SHA256_RSA_PKCS, Mechanism.RSA_PKCS):
        if mechanism in offered:
            return mechanism
    raise CardMechanismMissing(detail="CKM_SHA256_RSA_PKCS, CKM_RSA_PKCS")


def vendor_mechanism(number: int) -> Mechanism:
    """A mechanism that the binding has no name for: an int in the enum's clothes (signing.md 1)."""
    mechanism = int.__new__(Mechanism, number)
    mechanism._name_ = f"VENDOR_{number:#x}"
    mechanism._value_ = number
    return mechanism


def _public_certificates(token: Any) -> tuple[bytes, ...]:
    with token.open() as session:
        return tuple(sorted(der for der, _ in _certificates(session)))


def _certificates(session: Any) -> list[tuple[bytes, bytes]]:
    """Every X.509 certificate once, with its id; what cannot be read as one is none."""
    found: dict[bytes, bytes] = {}
    for entry in session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE}):
        der = bytes(_read(entry, Attribute.VALUE) or b"")
        with suppress(ValueError):
            load_certificate(der)
            found.setdefault(der, bytes(_read(entry, Attribute.ID) or b""))
    return list(found.items())


def _modulus(der: bytes) -> int | None:
    key = load_certificate(der).public_key()
    return key.public_numbers().n if isinstance(key, rsa.RSAPublicKey) else None


def _read(entry: Any, attribute: Attribute) -> Any:
    """An attribute, or None where the card does not tell it."""
    try:
        return entry[attribute]
    except PKCS11Error:
        return None


def _serial(token: Any) -> str:
    return bytes(token.serial).decode(errors="replace").strip("\0 ")


def _keys(keys: Iterable[Any]) -> str:
    return (
        ", ".join(f"{key.label.rstrip()} (ID {bytes(key.id).hex().upper()})" for key in keys) or "-"
    )


def _names(ders: Iterable[bytes]) -> str:
    return ", ".join(map(key_name, ders)) or "-"
