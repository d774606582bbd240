"""SoftHSM tokens, and keys with certificates."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.support.factories import SENDER

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "135790"
LABEL = "customs"


def make_token(folder: Path, **certificate: object) -> Path:
    """A SoftHSM token with key and certificate; `reset_on_fork` makes it behave as hardware does."""
    (folder / "tokens").mkdir(parents=True)
    config = folder / "softhsm2.conf"
    config.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        "library.reset_on_fork = true\n"
    )
    environment = {**os.environ, "SOFTHSM2_CONF": str(config)}
    init = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN]
    subprocess.run(
        [*init, "--so-pin", "12345678"], env=environment, check=True, capture_output=True
    )
    fill = (
        "import sys, pkcs11; from pkcs11 import Attribute, ObjectClass, CertificateType, KeyType\n"
        "from pkcs11.util.rsa import decode_rsa_private_key\n"
        "token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])\n"
        "key = decode_rsa_private_key(open(sys.argv[3], 'rb').read())\n"
        "key.update({Attribute.TOKEN: True, Attribute.LABEL: 'sign', Attribute.ID: b'\\x01'})\n"
        "with token.open(rw=True, user_pin=sys.argv[5]) as session:\n"
        "    session.create_object(key)\n"
        "    session.create_object({Attribute.CLASS: ObjectClass.CERTIFICATE,\n"
        "        Attribute.CERTIFICATE_TYPE: CertificateType.X_509, Attribute.TOKEN: True,\n"
        "        Attribute.PRIVATE: False, Attribute.ID: b'\\x01', Attribute.SUBJECT: b'x',\n"
        "        Attribute.VALUE: open(sys.argv[4], 'rb').read()})\n"
    )
    key, made = make_key(**{"enterprise": SENDER, **certificate})
    key_file, certificate_file = folder / "key.der", folder / "certificate.der"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.DER))
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    arguments = [str(MODULE), LABEL, str(key_file), str(certificate_file), PIN]
    subprocess.run([sys.executable, "-c", fill, *arguments], env=environment, check=True)
    return config


def make_key(enterprise, days=365, since=-1, serial=0x03000000000CDE6F, key=None):
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, enterprise)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now + timedelta(days=since))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return key, certificate
