"""Tokens as they are in the field: what is wrong with one has a name, costs no second login and no signature."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

from models.rules.card_errors import CARD_ERRORS, CardFault, card_error
from models.rules.errors import Kind
from models.rules.language import Language, use_language
from tests.conftest import ROOT
from tests.support.factories import EXPORTER, SENDER
from tests.support.tokens import MODULE, PIN, make_key

FILL = """
import json, sys
import pkcs11
from pkcs11 import Attribute, CertificateType, ObjectClass
from pkcs11.util.rsa import decode_rsa_private_key
module, label, pin, objects = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
for token in list(pkcs11.lib(module).get_tokens(token_label=label)):
    with token.open(rw=True, user_pin=pin) as session:
        for kind, file, made in objects:
            data = open(file, "rb").read()
            common = {Attribute.TOKEN: True, Attribute.LABEL: made.get("label", "sign"),
                      Attribute.ID: bytes.fromhex(made.get("id", "01"))}
            if kind == "key":
                key = decode_rsa_private_key(data) | common
                if made.get("always"):
                    key |= {Attribute.ALWAYS_AUTHENTICATE: True, Attribute.PRIVATE: True}
                session.create_object(key)
            else:
                session.create_object(common | {
                    Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.VALUE: data,
                    Attribute.CERTIFICATE_TYPE: CertificateType.X_509, Attribute.PRIVATE: False,
                    Attribute.SUBJECT: b"x"})
"""

USE = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from customs.signing.certificates import load_certificate, require_fit
from customs.signing.pkcs11 import Pkcs11Signer, token_certificate
from customs.signing.token import TokenSettings
from models.rules.card_errors import SigningError
module, folder, sender, given = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
read = []
def pin():
    read.append(1)
    return given.pop("pin", "135790")
said = {"codes": [], "details": []}
token = TokenSettings(module=Path(module), read_pin=pin, enterprise=sender,
                      **{"token_label": "customs", "key_label": "sign", **given})
try:
    require_fit(token_certificate(token, folder), sender, datetime.now(UTC))
    said["doctor"] = ""
except SigningError as error:
    said["doctor"] = error.code
said["logins of doctor"] = len(read)
signer = Pkcs11Signer(token, folder)
for _ in range(3):
    try:
        signer.examine()
        require_fit(signer.certificate_der(), sender, datetime.now(UTC))
        key = load_certificate(signer.certificate_der()).public_key()
        key.verify(signer.sign(b"data"), b"data", padding.PKCS1v15(), hashes.SHA256())
        said["codes"].append("")
    except SigningError as error:
        said["codes"].append(error.code)
        said["details"].append(error.values["detail"])
said["logins"] = len(read)
print(json.dumps(said))
"""


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Keys and certificates: k1 and k2 with c1 and c2 of the sender, and what else can be on a card."""
    folder = tmp_path_factory.mktemp("pki")
    keys = {}
    for name in ("k1", "k2"):
        keys[name], made = make_key(SENDER, serial=0x0A00 + len(keys))
        write(folder, name, keys[name], f"c{name[1]}", made)
    made = {
        "renewed": make_key(SENDER, serial=0x0B01, key=keys["k1"]),
        "expired": make_key(SENDER, serial=0x0B02, since=-400, days=-3, key=keys["k1"]),
        "early": make_key(SENDER, serial=0x0B03, since=3, key=keys["k1"]),
        "other": make_key(EXPORTER, serial=0x0B04, key=keys["k1"]),
    }
    for name, (_, certificate) in made.items():
        write(folder, None, None, name, certificate)
    return folder


def write(folder, key_name, key, name, certificate):
    if key_name:
        (folder / key_name).write_bytes(
            key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL,
                              serialization.NoEncryption()))  # fmt: skip
    (folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.DER))


@pytest.fixture
def use(files, tmp_path):
    """Make tokens with these objects, then look as doctor does and sign three times, in processes of their own."""

    def run(objects, tokens=1, mechanisms="", label="customs", **given):
        config = tmp_path / "softhsm2.conf"
        (tmp_path / "tokens").mkdir()
        config.write_text(
            f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        environment = {**os.environ, "SOFTHSM2_CONF": str(config), "PYTHONPATH": str(ROOT)}
        for _ in range(tokens):
            subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN,
                            "--so-pin", "12345678"], env=environment, check=True, capture_output=True)  # fmt: skip
        made = json.dumps([(kind, str(files / file), how) for kind, file, how in objects])
        subprocess.run(
            [sys.executable, "-c", FILL, str(MODULE), label, PIN, made], env=environment, check=True
        )
        if mechanisms:
            config.write_text(config.read_text() + f"slots.mechanisms = {mechanisms}\n")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", USE, str(MODULE), str(tmp_path / "latch"), SENDER,
             json.dumps(given)],
            env=environment, check=False, capture_output=True, text=True, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def key(file="k1", **how):
    return ("key", file, how)


def certificate(file="c1", **how):
    return ("certificate", file, how)


GOOD = [key(), certificate()]
TWO_KEYS = [key(), key("k2", id="02"), certificate(), certificate("c2", id="02")]
WORKS = {
    "one key, one certificate": (GOOD, {}),
    "of two certificates with the id, one has the key": ([key(), certificate(), certificate("c2")], {}),
    "the certificate of the key has another id": ([key(), certificate(id="02")], {}),
    "no ids at all": ([key(id=""), certificate(id="")], {}),
    "the old certificate is still there": ([key(), certificate("expired"), certificate()], {}),
    "a certificate of another enterprise for the same key": ([key(), certificate("other"), certificate()], {}),
    "no hash mechanism on the card": (GOOD, {"mechanisms": "CKM_RSA_PKCS,CKM_RSA_X_509"}),
    "a Chinese label": (GOOD, {"label": "电子口岸卡电子口岸卡", "token_label": "电子口岸卡电子口岸卡"}),
    "two keys, one named by its id": (TWO_KEYS, {"key_id": "02"}),
    "two certificates, one named": ([key(), certificate(), certificate("renewed")], {"certificate_serial": "0B01"}),
}  # fmt: skip
FAULTS = {
    "two tokens with the label": (GOOD, {"tokens": 2}, "cards_ambiguous", 0),
    "another label": (GOOD, {"token_label": "Customs"}, "card_label_not_found", 0),
    "another serial number": (GOOD, {"token_serial": "nobody"}, "card_label_not_found", 0),
    "signs with a mechanism that is none of ours": (
        GOOD, {"mechanisms": "CKM_SHA256_RSA_PKCS_PSS,CKM_RSA_PKCS_PSS"}, "card_mechanism_missing", 0),
    "no vendor mechanism": (
        GOOD, {"profile": "sm2-sm3", "vendor_mechanism": 0x80008100}, "card_mechanism_missing", 0),
    "another key label": (GOOD, {"key_label": "Sign"}, "card_key_missing", 1),
    "two keys with the label": (TWO_KEYS, {}, "card_keys_ambiguous", 1),
    "PIN for each signature": ([key(always=True), certificate()], {}, "card_pin_each_time", 1),
    "the certificate of another key": ([key(), certificate("c2")], {}, "card_certificate_missing", 1),
    "no certificate": ([key()], {}, "card_certificate_missing", 0),
    "two certificates that fit": ([key(), certificate(), certificate("renewed")], {},
                                  "card_certificates_ambiguous", 1),
    "expired": ([key(), certificate("expired")], {}, "card_expired", 0),
    "not yet valid": ([key(), certificate("early")], {}, "card_not_yet_valid", 0),
    "of another enterprise": ([key(), certificate("other")], {}, "card_of_another_enterprise", 0),
}  # fmt: skip


@pytest.mark.parametrize(("objects", "how"), WORKS.values(), ids=WORKS)
def test_a_card_that_can_sign_signs(use, objects, how):
    said = use(objects, **how)
    assert said["codes"] == ["", "", ""]
    assert said["doctor"] == ""
    assert said["logins"] == 1


@pytest.mark.parametrize(
    ("objects", "how", "code", "seen_behind_the_login"), FAULTS.values(), ids=FAULTS
)
def test_what_waiting_does_not_mend_is_named_and_costs_one_login_at_most(
    use, objects, how, code, seen_behind_the_login
):
    said = use(objects, **how)
    assert said["codes"] == [code] * 3
    assert said["logins"] <= 1
    assert said["logins of doctor"] == 0
    if not seen_behind_the_login:
        assert said["doctor"] == code
    assert len(set(said["details"])) == 1


def test_every_fault_has_a_text_of_its_own_and_an_exit():
    texts = set()
    for code in CARD_ERRORS:
        error = card_error(code, "(what was found)")
        assert error.code == code
        assert error.kind in {Kind.CARD, Kind.CONFIGURATION, Kind.NOT_NOW}
        if code != "pin_refused":
            assert isinstance(error, CardFault) == (error.kind is not Kind.NOT_NOW)
        for language in Language:
            use_language(language)
            assert "(what was found)" in str(error)
            texts.add(str(error))
    assert len(texts) == 2 * len(CARD_ERRORS)
