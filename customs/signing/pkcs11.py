"""The card: a PKCS#11 token, HSM or SoftHSM (DESIGN.md section 4; signing.md section 2).

What the binding and real modules force on us: one session per process, opened after the fork, one
call at a time; anything odd drops the session and the library, and the next call opens anew; the
only login is the one here, behind the latch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pkcs11 import Attribute, Mechanism, ObjectClass, TokenFlag
from pkcs11.attributes import AttributeMapper, handle_ulong
from pkcs11.exceptions import (
    DeviceRemoved,
    NoSuchKey,
    NoSuchToken,
    PKCS11Error,
    SessionCount,
    TokenNotPresent,
    TokenNotRecognised,
)

from customs.signing.latch import PinLatch
from customs.signing.xmldsig import SM2_USER_ID
from models.errors import PinRefused, SigningError

_NOT_A_LOGIN: Final = (TokenNotPresent, TokenNotRecognised, DeviceRemoved, SessionCount)
"""Errors of open() that certainly come from before the PIN was looked at. Any other may have cost
a try, so it closes the latch."""

_SM2_HALF: Final = 32


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which token, which key, how to sign. The PIN is never shown."""

    module: Path
    token_label: str
    key_label: str
    read_pin: Callable[[], str] = field(repr=False)
    """Read at each login, so that a corrected file is enough. May raise OSError and ValueError."""
    profile: str = "rsa-sha256"
    vendor_mechanism: int | None = None


class Pkcs11Signer:
    """Signs with the key in the token. Opens nothing before the first use."""

    def __init__(self, token: TokenSettings, latch_folder: Path) -> None:
        self._settings = token
        self._latch = PinLatch(latch_folder, token.token_label)
        self._lock = Lock()
        self._pid = 0
        self._session: Any = None
        self._key: Any = None
        self._certificate = b""

    def sign(self, data: bytes) -> bytes:
        """One signature by the card."""
        with self._lock:
            self._open()
            try:
                if self._settings.profile == "sm2-sm3":
                    return _raw_sm2(
                        self._key.sign(
                            data, mechanism=self._mechanism(), mechanism_param=SM2_USER_ID
                        )
                    )
                return bytes(self._key.sign(data, mechanism=Mechanism.SHA256_RSA_PKCS))
            except PKCS11Error as error:
                self._forget()
                raise SigningError(detail=_say(error)) from error

    def certificate_der(self) -> bytes:
        """The certificate beside the key."""
        with self._lock:
            self._open()
            return self._certificate

    def close(self) -> None:
        """Log out. Logging out a token that has gone is no error."""
        with self._lock:
            self._forget()

    def _mechanism(self) -> Mechanism:
        if self._settings.vendor_mechanism is None:
            raise SigningError(detail="sm2-sm3: SIGNATURE_MECHANISM")
        return _vendor_mechanism(self._settings.vendor_mechanism)

    def _open(self) -> None:
        if self._session is not None and self._pid == os.getpid():
            return
        module = str(self._settings.module)
        self._session = None
        with self._latch.exclusive():
            pkcs11.unload(module)  # what a parent initialised is not ours after the fork
            try:
                token = pkcs11.lib(module).get_token(token_label=self._settings.token_label)
                flags = token.flags
            except (PKCS11Error, RuntimeError) as error:
                pkcs11.unload(module)
                raise SigningError(detail=_say(error)) from error
            self._session = self._login(token, flags)
            self._pid = os.getpid()
            try:
                self._find_key()
            except PKCS11Error as error:
                self._forget()
                raise SigningError(detail=_say(error)) from error

    def _login(self, token: Any, flags: TokenFlag) -> Any:
        """The one login of the product. Called inside the latch."""
        try:
            pin = self._settings.read_pin()
        except (OSError, ValueError) as error:
            raise SigningError(detail=str(error)) from error
        if reason := self._latch.refused(pin):
            raise PinRefused(detail=reason)
        if flags & (TokenFlag.USER_PIN_LOCKED | TokenFlag.USER_PIN_FINAL_TRY):
            raise PinRefused(detail="USER_PIN_LOCKED / USER_PIN_FINAL_TRY")
        self._latch.close(pin, "login interrupted")
        try:
            session = token.open(user_pin=pin, attribute_mapper=_key_types(self._settings.profile))
        except _NOT_A_LOGIN as error:
            self._latch.open(pin)
            pkcs11.unload(str(self._settings.module))
            raise SigningError(detail=_say(error)) from error
        except PKCS11Error as error:
            self._latch.close(pin, _say(error))
            pkcs11.unload(str(self._settings.module))
            raise PinRefused(detail=_say(error)) from error
        self._latch.open(pin)
        return session

    def _find_key(self) -> None:
        label = self._settings.key_label
        self._key = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
        wanted = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: self._key.id}
        certificates = list(self._session.get_objects(wanted))
        if len(certificates) != 1:
            raise NoSuchKey(f"{len(certificates)} certificates with the id of key {label}")
        self._certificate = bytes(certificates[0][Attribute.VALUE])

    def _forget(self) -> None:
        """Drop session and library: the only state from which every module opens again."""
        session, self._session, self._key = self._session, None, None
        if session is not None and self._pid == os.getpid():
            with suppress(PKCS11Error):  # when the token has gone, unload lets go of it for good
                session.close()
        pkcs11.unload(str(self._settings.module))


def token_certificate(token: TokenSettings, latch_folder: Path) -> bytes:
    """The certificate in the token, read without a PIN, for `doctor`. Raises `SigningError`."""
    module = str(token.module)
    with PinLatch(latch_folder, token.token_label).exclusive():
        try:
            found = pkcs11.lib(module).get_token(token_label=token.token_label)
            with found.open() as session:
                wanted = {Attribute.CLASS: ObjectClass.CERTIFICATE}
                values = [bytes(c[Attribute.VALUE]) for c in session.get_objects(wanted)]
        except (PKCS11Error, RuntimeError) as error:
            raise SigningError(detail=_say(error)) from error
        finally:
            pkcs11.unload(module)
    if not values:
        raise SigningError(detail="no certificate in the token")
    return values[0]


def _say(error: Exception) -> str:
    if isinstance(error, NoSuchToken):
        return "NoSuchToken"
    return f"{type(error).__name__} {error}".strip()


def _vendor_mechanism(number: int) -> Mechanism:
    """A mechanism that the binding has no name for: an int in the enum's clothes (signing.md 1)."""
    mechanism = int.__new__(Mechanism, number)
    mechanism._name_ = f"VENDOR_{number:#x}"
    mechanism._value_ = number
    return mechanism


def _key_types(profile: str) -> AttributeMapper:
    """Vendors' SM2 keys have key types beyond the standard: let them through as plain numbers."""
    mapper = AttributeMapper()
    if profile == "sm2-sm3":
        mapper.register_handler(Attribute.KEY_TYPE, *handle_ulong)
    return mapper


def _raw_sm2(signature: bytes) -> bytes:
    """r‖s, 64 bytes, whether the module gives that or DER."""
    if len(signature) == 2 * _SM2_HALF:
        return signature
    r, s = decode_dss_signature(signature)
    return r.to_bytes(_SM2_HALF, "big") + s.to_bytes(_SM2_HALF, "big")
