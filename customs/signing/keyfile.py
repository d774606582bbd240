"""A key in a file: the embedded default, trusted by the simulator alone.

Made at the first start, mode 0600, with a self-signed certificate that says what it is. A
production deployment refuses it (`config.settings`).
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from models.rules.card_errors import SigningError

_KEY_FILE: Final = "test-key.pem"
_CERTIFICATE_FILE: Final = "test-certificate.pem"
_YEARS: Final = timedelta(days=3650)


class KeyFileSigner:
    """Signs rsa-sha256 with the key in `folder`; makes key and certificate when there are none."""

    def __init__(self, folder: Path, enterprise: str) -> None:
        self._folder = folder
        self._enterprise = enterprise
        self._lock = Lock()
        self._key: rsa.RSAPrivateKey | None = None
        self._certificate = b""

    def sign(self, data: bytes) -> bytes:
        """PKCS#1 v1.5 over SHA-256."""
        return self._opened().sign(data, padding.PKCS1v15(), hashes.SHA256())

    def certificate_der(self) -> bytes:
        """The self-signed certificate."""
        self._opened()
        return self._certificate

    def examine(self) -> None:
        """Read the files again."""
        self.close()
        self._opened()

    def close(self) -> None:
        """Forget the key."""
        self._key = None

    def _opened(self) -> rsa.RSAPrivateKey:
        with self._lock:
            if self._key is None:
                try:
                    ensure_key_file(self._folder, self._enterprise)
                    self._load()
                except (OSError, ValueError) as error:
                    raise SigningError(detail=f"{self._folder}: {error}") from error
            if self._key is None:
                raise SigningError(detail=f"{self._folder}: no RSA key")
            return self._key

    def _load(self) -> None:
        key = serialization.load_pem_private_key((self._folder / _KEY_FILE).read_bytes(), None)
        pem = (self._folder / _CERTIFICATE_FILE).read_bytes()
        self._certificate = x509.load_pem_x509_certificate(pem).public_bytes(
            serialization.Encoding.DER
        )
        self._key = key if isinstance(key, rsa.RSAPrivateKey) else None


def certificate_file(folder: Path) -> Path:
    """Where the test certificate is, for the simulator to trust."""
    return folder / _CERTIFICATE_FILE


def ensure_key_file(folder: Path, enterprise: str) -> None:
    """Make the key and its certificate unless they are there. Two processes at once make one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "test-key.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if certificate_file(folder).exists():
            return
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, "TEST - NOT FOR CUSTOMS"),
                x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, enterprise),
            ]
        )
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _YEARS)
            .sign(key, hashes.SHA256())
        )
        _write(
            folder / _KEY_FILE,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        _write(certificate_file(folder), certificate.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
