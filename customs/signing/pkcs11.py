"""The card: a PKCS#11 token, HSM or SoftHSM (rule 6 of how-it-works.md; signing.md section 2).

What the binding and real modules force on us: one session per process, opened after the fork, one
call at a time; anything odd drops the session and the library, and the next call opens anew; the
only login is the one here, behind the latch.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pkcs11 import Attribute, Mechanism, TokenFlag
from pkcs11.attributes import AttributeMapper, handle_ulong
from pkcs11.exceptions import (
    DeviceRemoved,
    PKCS11Error,
    SessionCount,
    TokenNotPresent,
    TokenNotRecognised,
)

from customs.signing.latch import PinLatch
from customs.signing.token import (
    SM2_SM3,
    Chosen,
    TokenSettings,
    choose_certificate,
    choose_key,
    choose_token,
    likely_certificate,
)
from customs.signing.xmldsig import SM2_USER_ID
from models.rules.card_errors import CardFault, PinRefused, SigningError

_NOT_A_LOGIN: Final = (TokenNotPresent, TokenNotRecognised, DeviceRemoved, SessionCount)
"""Errors of open() that certainly come from before the PIN was looked at. Any other may have cost
a try, so it closes the latch."""

FAULT_SECONDS: Final = 3600.0
"""How long a fault behind the login is believed while the token looks the same: as often as a card
that works is examined."""

_SHA256_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
"""DigestInfo of SHA-256 up to the digest (RFC 8017, section 9.2, note 1)."""

_SM2_HALF: Final = 32


@dataclass(frozen=True, slots=True)
class _Known:
    """A fault that was found behind the login, and what the token looked like then."""

    fault: CardFault
    view: tuple[object, ...]
    until: float


class Pkcs11Signer:
    """Signs with the key in the token. Opens nothing before the first use."""

    def __init__(self, token: TokenSettings, latch_folder: Path) -> None:
        self._settings = token
        self._latch = PinLatch(latch_folder, token.token_label)
        self._lock = Lock()
        self._pid = 0
        self._session: Any = None
        self._key: Any = None
        self._mechanism = Mechanism.SHA256_RSA_PKCS
        self._certificate = b""
        self._known: _Known | None = None

    def sign(self, data: bytes) -> bytes:
        """One signature by the card."""
        with self._lock:
            self._open()
            try:
                return self._sign(data)
            except PKCS11Error as error:
                self._forget()
                raise SigningError(detail=_say(error)) from error

    def certificate_der(self) -> bytes:
        """The certificate of the key."""
        with self._lock:
            self._open()
            return self._certificate

    def examine(self) -> None:
        """Choose token, mechanism, key and certificate again; in the session that is open, if one is."""
        with self._lock:
            if not self._is_open():
                self._open()
                return
            with self._forgetting():
                self._choose(choose_token(self._settings))

    def close(self) -> None:
        """Log out. Logging out a token that has gone is no error."""
        with self._lock:
            self._forget()

    def _sign(self, data: bytes) -> bytes:
        if self._settings.profile == SM2_SM3:
            signature = self._key.sign(data, mechanism=self._mechanism, mechanism_param=SM2_USER_ID)
            return _raw_sm2(signature)
        if self._mechanism is Mechanism.RSA_PKCS:
            data = _SHA256_INFO + hashlib.sha256(data).digest()
        return bytes(self._key.sign(data, mechanism=self._mechanism))

    def _is_open(self) -> bool:
        return self._session is not None and self._pid == os.getpid()

    def _open(self) -> None:
        if self._is_open():
            return
        self._session = None
        with self._latch.exclusive():
            pkcs11.unload(str(self._settings.module))  # what a parent initialised is not ours
            with self._forgetting():
                chosen = choose_token(self._settings)
                self._require_other_than_known(chosen)
                self._session = self._login(chosen.token, chosen.token.flags)
                self._pid = os.getpid()
                self._choose(chosen)

    def _require_other_than_known(self, chosen: Chosen) -> None:
        """No second login for what the first one has shown."""
        known, self._known = self._known, None
        if known and known.view == chosen.view and time.monotonic() < known.until:
            self._known = known
            raise known.fault

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
            raise SigningError(detail=_say(error)) from error
        except PKCS11Error as error:
            self._latch.close(pin, _say(error))
            raise PinRefused(detail=_say(error)) from error
        self._latch.open(pin)
        return session

    def _choose(self, chosen: Chosen) -> None:
        """Key and certificate in the open session; a fault is remembered with what the token looks like."""
        try:
            key = choose_key(self._settings, self._session)
            self._certificate = choose_certificate(self._settings, self._session, key)
        except CardFault as fault:
            self._known = _Known(fault, chosen.view, time.monotonic() + FAULT_SECONDS)
            raise
        self._key, self._mechanism = key, chosen.mechanism

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Whatever goes wrong inside leaves nothing open, and comes out as an error of the card."""
        try:
            yield
        except (PKCS11Error, RuntimeError) as error:
            self._forget()
            raise SigningError(detail=_say(error)) from error
        except SigningError:
            self._forget()
            raise

    def _forget(self) -> None:
        """Drop session and library: the only state from which every module opens again."""
        session, self._session, self._key = self._session, None, None
        if session is not None and self._pid == os.getpid():
            with suppress(PKCS11Error):  # when the token has gone, unload lets go of it for good
                session.close()
        pkcs11.unload(str(self._settings.module))


def token_certificate(token: TokenSettings, latch_folder: Path) -> bytes:
    """The certificate in the token, read without a PIN, for `doctor`. Raises as `Signer.examine`.

    What only a login shows (the key, a PIN for each signature) the submitter finds.
    """
    with PinLatch(latch_folder, token.token_label).exclusive():
        try:
            return likely_certificate(token, choose_token(token))
        except (PKCS11Error, RuntimeError) as error:
            raise SigningError(detail=_say(error)) from error
        finally:
            pkcs11.unload(str(token.module))


def _say(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


def _key_types(profile: str) -> AttributeMapper:
    """Vendors' SM2 keys have key types beyond the standard: let them through as plain numbers."""
    mapper = AttributeMapper()
    if profile == SM2_SM3:
        mapper.register_handler(Attribute.KEY_TYPE, *handle_ulong)
    return mapper


def _raw_sm2(signature: bytes) -> bytes:
    """r‖s, 64 bytes, whether the module gives that or DER."""
    if len(signature) == 2 * _SM2_HALF:
        return signature
    r, s = decode_dss_signature(signature)
    return r.to_bytes(_SM2_HALF, "big") + s.to_bytes(_SM2_HALF, "big")
