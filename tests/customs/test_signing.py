"""The card: key file and SoftHSM by the same contract; every pitfall of signing.md has a test."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from gmssl import sm2

from customs.profile import bcm1_xml
from customs.signing.keyfile import KeyFileSigner, ensure_key_file
from customs.signing.pkcs11 import (
    Pkcs11Signer,
    _raw_sm2,
    token_certificate,
)
from customs.signing.token import TokenSettings, vendor_mechanism
from customs.signing.xmldsig import PROFILES, SM2_USER_ID
from models.rules.card_errors import PinRefused, SigningError
from tests.customs.test_messages import message
from tests.support.factories import SENDER
from tests.support.tokens import LABEL, MODULE, PIN, make_key, make_token

fork = multiprocessing.get_context("fork")


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("softhsm")
    os.environ["SOFTHSM2_CONF"] = str(make_token(folder))
    return folder


@pytest.fixture
def token(softhsm):
    return TokenSettings(MODULE, LABEL, "sign", lambda: PIN, SENDER)


@pytest.fixture(params=["keyfile", "softhsm"])
def signer(request, tmp_path, token):
    if request.param == "keyfile":
        made = KeyFileSigner(tmp_path / "card", SENDER)
    else:
        made = Pkcs11Signer(token, tmp_path / "card")
    yield made
    made.close()


def check(signer, signature, data=b"data"):
    key = x509.load_der_x509_certificate(signer.certificate_der()).public_key()
    key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())


class TestEverySigner:
    def test_signs_what_its_certificate_verifies(self, signer):
        check(signer, signer.sign(b"data"))

    def test_signs_a_message_that_verifies(self, signer):
        payload = bcm1_xml.signed_message(message(), signer, PROFILES["rsa-sha256"])
        assert payload.count(b"<ds:SignatureValue>") == 1

    def test_opens_again_after_close(self, signer):
        signer.sign(b"data")
        signer.close()
        check(signer, signer.sign(b"data"))

    def test_serves_eight_threads(self, signer):
        signatures, errors = [], []

        def work():
            try:
                signatures.extend(signer.sign(b"data") for _ in range(20))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        for signature in signatures:
            check(signer, signature)

    def test_signs_in_a_forked_child_of_a_process_that_signed(self, signer):
        signer.sign(b"data")
        queue = fork.Queue()
        child = fork.Process(target=lambda: queue.put(signer.sign(b"child")))
        child.start()
        signature = queue.get(timeout=20)
        child.join()
        check(signer, signature, b"child")
        check(signer, signer.sign(b"data"))


def sign_once(token, folder, queue):
    CountedLogins(pytest.MonkeyPatch(), told=folder / "logins")
    try:
        queue.put(len(Pkcs11Signer(token, folder).sign(b"data")))
    except SigningError as error:
        queue.put(error.code)


def signed_by_another(token, folder, count=1):
    """What processes of their own, at the same moment, got for it."""
    queue = fork.Queue()
    children = [fork.Process(target=sign_once, args=(token, folder, queue)) for _ in range(count)]
    for child in children:
        child.start()
    said = [queue.get(timeout=30) for _ in children]
    for child in children:
        child.join()
    return said


def logins_in(folder):
    return len((folder / "logins").read_text().splitlines())


class CountedLogins:
    """Counts logins at the binding, and can refuse them as a card would; `told`: by all processes."""

    def __init__(self, monkeypatch, refuse=None, told=None, flags=None):
        self.count = 0
        real = pkcs11.lib

        class Token:
            def __init__(inner, token):
                inner.token = token
                inner.label, inner.serial, inner.slot = token.label, token.serial, token.slot
                inner.flags = token.flags if flags is None else token.flags | flags

            def open(inner, **how):
                if "user_pin" in how:
                    self.count += 1
                    if told is not None:
                        with told.open("a") as file:
                            file.write("login\n")
                if refuse is not None and "user_pin" in how:
                    raise refuse
                return inner.token.open(**how)

        class Library:
            def __init__(inner, library):
                inner.library = library

            def get_tokens(inner):
                return map(Token, inner.library.get_tokens())

        monkeypatch.setattr("customs.signing.token.pkcs11.lib", lambda so: Library(real(so)))


class TestWrongPin:
    @pytest.fixture
    def wrong(self, softhsm):
        return TokenSettings(MODULE, LABEL, "sign", lambda: "000000", SENDER)

    def test_is_tried_once_and_never_again(self, wrong, tmp_path, monkeypatch):
        logins = CountedLogins(monkeypatch)
        for _ in range(5):
            with pytest.raises(PinRefused):
                Pkcs11Signer(wrong, tmp_path).sign(b"data")
        assert logins.count == 1

    def test_is_remembered_by_other_processes_and_after_restarts(self, wrong, tmp_path):
        for _ in range(3):
            assert signed_by_another(wrong, tmp_path) == ["pin_refused"]
        assert logins_in(tmp_path) == 1

    def test_several_processes_at_once_make_one_login(self, wrong, tmp_path):
        assert signed_by_another(wrong, tmp_path, count=4) == ["pin_refused"] * 4
        assert logins_in(tmp_path) == 1

    def test_a_corrected_pin_opens_the_way_by_itself(self, wrong, token, tmp_path):
        with pytest.raises(PinRefused):
            Pkcs11Signer(wrong, tmp_path).sign(b"data")
        signer = Pkcs11Signer(token, tmp_path)
        check(signer, signer.sign(b"data"))

    def test_a_login_that_was_interrupted_is_not_made_again(self, token, tmp_path, monkeypatch):
        logins = CountedLogins(monkeypatch, refuse=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            Pkcs11Signer(token, tmp_path).sign(b"data")
        with pytest.raises(PinRefused, match="latch-"):
            Pkcs11Signer(token, tmp_path).sign(b"data")
        assert logins.count == 1

    def test_every_refused_pin_is_remembered(self, wrong, softhsm, tmp_path, monkeypatch):
        logins = CountedLogins(monkeypatch)
        other = TokenSettings(MODULE, LABEL, "sign", lambda: "111111", SENDER)
        for settings in (wrong, other, wrong, other):
            with pytest.raises(PinRefused):
                Pkcs11Signer(settings, tmp_path).sign(b"data")
        assert logins.count == 2

    def test_leaves_nothing_of_the_pin_behind(self, wrong, tmp_path):
        signer = Pkcs11Signer(wrong, tmp_path)
        with pytest.raises(PinRefused) as refused:
            signer.sign(b"data")
        kept = "".join(p.read_text() for p in tmp_path.iterdir() if p.is_file())
        assert "000000" not in kept + repr(wrong) + repr(refused.value)
        assert hashlib.sha256(b"000000").hexdigest() not in kept

    def test_any_failure_of_the_login_closes_the_latch(self, token, tmp_path, monkeypatch):
        logins = CountedLogins(monkeypatch, refuse=pkcs11.exceptions.GeneralError())
        for _ in range(3):
            with pytest.raises(PinRefused):
                Pkcs11Signer(token, tmp_path).sign(b"data")
        assert logins.count == 1

    def test_a_token_that_went_away_before_the_login_does_not(self, token, tmp_path, monkeypatch):
        logins = CountedLogins(monkeypatch, refuse=pkcs11.exceptions.TokenNotPresent())
        for _ in range(3):
            with pytest.raises(SigningError) as error:
                Pkcs11Signer(token, tmp_path).sign(b"data")
            assert not isinstance(error.value, PinRefused)
        assert logins.count == 3

    def test_a_card_at_its_final_try_is_not_logged_in_to(self, token, tmp_path, monkeypatch):
        logins = CountedLogins(monkeypatch, flags=pkcs11.TokenFlag.USER_PIN_FINAL_TRY)
        with pytest.raises(PinRefused):
            Pkcs11Signer(token, tmp_path).sign(b"data")
        assert logins.count == 0


def test_a_lost_token_is_waited_for(token, softhsm, tmp_path):
    signer = Pkcs11Signer(token, tmp_path / "card")
    check(signer, signer.sign(b"data"))
    tokens, away = softhsm / "tokens", softhsm / "away"
    signer.close()
    tokens.rename(away)
    tokens.mkdir()
    try:
        with pytest.raises(SigningError) as lost:
            signer.sign(b"data")
        assert not isinstance(lost.value, PinRefused)
    finally:
        tokens.rmdir()
        away.rename(tokens)
    check(signer, signer.sign(b"data"))


def test_a_session_that_was_closed_is_opened_again(token, tmp_path):
    signer = Pkcs11Signer(token, tmp_path)
    signer.sign(b"data")
    signer._session.close()
    with pytest.raises(SigningError):
        signer.sign(b"data")
    check(signer, signer.sign(b"data"))


def test_the_certificate_is_read_without_a_pin(token, tmp_path):
    der = token_certificate(token, tmp_path)
    assert x509.load_der_x509_certificate(der).serial_number == 0x03000000000CDE6F


def test_a_signature_that_does_not_verify_is_not_given_away(key_folder):
    class Broken(KeyFileSigner):
        def sign(self, data):
            return super().sign(data + b"!")

    with pytest.raises(SigningError):
        bcm1_xml.signed_message(message(), Broken(key_folder, SENDER), PROFILES["rsa-sha256"])


def test_the_key_file_is_for_its_owner_alone_and_made_once(tmp_path):
    ensure_key_file(tmp_path, SENDER)
    before = (tmp_path / "test-key.pem").read_bytes()
    ensure_key_file(tmp_path, SENDER)
    assert (tmp_path / "test-key.pem").read_bytes() == before
    assert (tmp_path / "test-key.pem").stat().st_mode & 0o077 == 0


# -- sm2-sm3: the seam, with a software stand-in for the card ------------------------------------

SM2_PRIVATE = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
SM2_PUBLIC = (
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)


class Sm2StandIn:
    """Signs with gmssl where a GM card would; its certificate carries the SM2 public key."""

    def __init__(self):
        self.key = sm2.CryptSM2(private_key=SM2_PRIVATE, public_key=SM2_PUBLIC)

    def sign(self, data):
        return bytes.fromhex(self.key.sign_with_sm3(data))

    def certificate_der(self):
        from asn1crypto import x509 as asn1
        from asn1crypto.keys import ECDomainParameters, PublicKeyAlgorithm, PublicKeyInfo

        _, certificate = make_key(SENDER)
        parsed = asn1.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
        info = PublicKeyInfo(
            {
                "algorithm": PublicKeyAlgorithm(
                    {
                        "algorithm": "ec",
                        "parameters": ECDomainParameters(name="named", value="1.2.156.10197.1.301"),
                    }
                ),
                "public_key": b"\x04" + bytes.fromhex(SM2_PUBLIC),
            }
        )
        parsed["tbs_certificate"]["subject_public_key_info"] = info
        return parsed.dump(force=True)

    def close(self):
        pass


def test_sm2_sm3_is_a_profile_with_raw_signatures_and_its_own_uris():
    stand_in = Sm2StandIn()
    certificate = stand_in.certificate_der()
    stand_in.certificate_der = lambda: certificate
    payload = bcm1_xml.signed_message(message(), stand_in, PROFILES["sm2-sm3"]).decode()
    assert "http://www.chinaport.gov.cn/2022/04/xmldsig#sm2-sm3" in payload
    value = payload.split("<ds:SignatureValue>")[1].split("<")[0]
    assert len(__import__("base64").b64decode(value)) == 64


def test_an_sm2_signature_over_other_data_is_refused():
    stand_in = Sm2StandIn()
    signature = stand_in.sign(b"data")
    certificate = stand_in.certificate_der()
    PROFILES["sm2-sm3"].verify(certificate, b"data", signature)
    with pytest.raises(SigningError):
        PROFILES["sm2-sm3"].verify(certificate, b"datum", signature)


def test_a_vendors_mechanism_number_and_the_user_id_reach_the_card(tmp_path):
    seen = {}

    class Key:
        def sign(self, data, mechanism, mechanism_param):
            seen.update(number=int(mechanism), parameter=mechanism_param)
            return b"\x01" * 64

    settings = TokenSettings(MODULE, LABEL, "sign", lambda: PIN, SENDER, "sm2-sm3", 0x80008100)
    signer = Pkcs11Signer(settings, tmp_path)
    signer._mechanism = vendor_mechanism(0x80008100)
    signer._session, signer._key, signer._pid = object(), Key(), os.getpid()
    assert signer.sign(b"data") == b"\x01" * 64
    assert seen == {"number": 0x80008100, "parameter": SM2_USER_ID}
    assert vendor_mechanism(0x80000201) == 0x80000201


def test_der_signatures_of_sm2_modules_become_raw():
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    assert _raw_sm2(encode_dss_signature(1, 2)) == b"\0" * 31 + b"\1" + b"\0" * 31 + b"\2"
    assert _raw_sm2(b"\5" * 64) == b"\5" * 64
