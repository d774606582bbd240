"""The wire: messages against the XSD, C14N and independent verifiers; answers; callbacks."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import signxml
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from standardwebhooks import Webhook

from customs import http
from customs.gateway import (
    Conflict,
    InDoubt,
    Message,
    MessageLine,
    NotFound,
    NotTaken,
    Refused,
    SignedMessage,
    Taken,
)
from customs.profile import bcm1, bcm1_xml
from customs.signing.keyfile import KeyFileSigner, certificate_file
from customs.signing.xmldsig import PROFILES
from customs.wire import NotReadable
from models.rules.states import Action
from models.rules.verdicts import CustomsState
from net import webhooks
from tests.conftest import DATA
from tests.support.factories import EXPORTER, SENDER

XSD = DATA / "contract" / "bcm1.xsd"
RSA = PROFILES["rsa-sha256"]
OWN_XSD = Path(bcm1_xml.__file__).parent / "bcm1.xsd"


def message(action=Action.VERIFY, reason=None, text=None):
    return Message(
        number="BC7F3A9C2E",
        guid="4CDE1CFD-EDED-46B1-946C-B8022E42FC94",
        sender=SENDER,
        action=action,
        certificate="B201026902331597",
        certificate_type="B",
        exporter=EXPORTER,
        agent=SENDER,
        stock_owner=SENDER,
        reason_code=reason,
        reason_text=text,
        made_at=datetime(2022, 5, 18, 1, 30, 15, tzinfo=UTC),
        lines=[MessageLine(1, "211013209", "B"), MessageLine(2, "211013210", "B")],
    )


@pytest.fixture
def signer(key_folder):
    return KeyFileSigner(key_folder, SENDER)


MESSAGES = [
    message(),
    message(Action.VOID, "01"),
    message(Action.VOID, "09", '纸张 <受潮> & "卷曲"\r\n第二行\x00'),
]


def test_the_schema_is_the_contracts():
    assert OWN_XSD.read_bytes() == XSD.read_bytes()


@pytest.mark.parametrize("said", MESSAGES)
def test_a_message_is_valid_and_in_canonical_form_as_it_is_sent(signer, said):
    payload = bcm1_xml.signed_message(said, signer, RSA)
    root = etree.fromstring(payload)
    etree.XMLSchema(etree.parse(str(XSD))).assertValid(root)
    body = payload.split(b"\n", 1)[1]
    assert etree.tostring(root, method="c14n", exclusive=False) == body
    assert root.findtext(".//{*}OperTime") == "2022-05-18 09:30:15"


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (None, None, {}),
        ("01", None, {"ReasonCode": "01"}),
        ("09", "水渍", {"ReasonCode": "09", "Reason": "水渍"}),
        ("09", 'a <b> & "c"\r\nd\x00', {"ReasonCode": "09", "Reason": 'a <b> & "c"\r\nd'}),
    ],
)
def test_the_reason_of_a_void_is_said_as_it_was_given(signer, code, text, said):
    action = Action.VOID if code else Action.VERIFY
    root = etree.fromstring(bcm1_xml.signed_message(message(action, code, text), signer, RSA))
    head = {etree.QName(e).localname: e.text for e in root.find(".//{*}BlankCertHead")}
    assert {name: head[name] for name in head if name.startswith("Reason")} == said


def test_the_unsigned_message_says_what_the_sample_says():
    sample = etree.parse(str(DATA / "contract" / "BCM101.unsigned.xml")).getroot()
    ours = etree.fromstring(bcm1_xml._document(message()).encode())

    def leaves(root):
        return [(e.tag, (e.text or "").strip()) for e in root.iter() if len(e) == 0]

    changing = {"sender_id"}
    same = [(t, v) for t, v in leaves(ours) if etree.QName(t).localname not in changing]
    wanted = [(t, v) for t, v in leaves(sample) if etree.QName(t).localname not in changing]
    ours_values, wanted_values = dict(same), dict(wanted)
    assert [t for t, _ in same] == [t for t, _ in wanted]
    ours_values.pop("{urn:blank-cert:bcm:1}StockOwner")
    wanted_values.pop("{urn:blank-cert:bcm:1}StockOwner")
    assert ours_values == wanted_values


@pytest.mark.parametrize("said", MESSAGES)
def test_xmlsec_accepts_the_signature_and_refuses_a_changed_digit(
    signer, said, tmp_path, key_folder
):
    payload = bcm1_xml.signed_message(said, signer, RSA)
    for content, accepted in (
        (payload, True),
        (payload.replace(b"211013209", b"211013208"), False),
    ):
        path = tmp_path / "message.xml"
        path.write_bytes(content)
        done = subprocess.run(
            ["xmlsec1", "--verify", "--trusted-pem", str(certificate_file(key_folder)), str(path)],
            capture_output=True,
            check=False,
        )
        assert (done.returncode == 0) is accepted


def test_signxml_accepts_the_signature(signer, key_folder):
    payload = bcm1_xml.signed_message(message(), signer, RSA)
    config = signxml.SignatureConfiguration(
        expect_references=1, signature_methods=[signxml.SignatureMethod.RSA_SHA256]
    )
    pem = certificate_file(key_folder).read_text()
    signxml.XMLVerifier().verify(payload, x509_cert=pem, expect_config=config)


def test_the_sample_receipt_is_read():
    receipt = bcm1_xml.parse_receipt((DATA / "contract" / "BCM201.xml").read_bytes())
    assert (receipt.number, receipt.certificate) == ("BC7F3A9C2E", "B201026902331597")
    assert [(f.serial, f.code, f.state) for f in receipt.forms] == [
        ("211013209", "0000", "2"),
        ("211013210", "2103", "1"),
    ]
    assert receipt.managed_at.isoformat() == "2022-05-18T09:31:19+08:00"


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_the_parsers_fail_otherwise(body):
    for parse in (bcm1_xml.parse_receipt, bcm1_xml.parse_answer):
        try:
            parse(body)
        except NotReadable:
            pass


SAMPLE_RECEIPT = (DATA / "contract" / "BCM201.xml").read_bytes()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SAMPLE_RECEIPT) - 1), st.binary(min_size=1, max_size=12)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_a_bent_receipt_is_read_or_refused_and_says_no_other_kind_of_thing(bends):
    """Whatever is accepted has serials, codes and states of the contract's form."""
    content = bytearray(SAMPLE_RECEIPT)
    for at, put in bends:
        content[at : at + len(put)] = put
    try:
        receipt = bcm1_xml.parse_receipt(bytes(content))
    except NotReadable:
        return
    assert receipt.managed_at.astimezone(UTC)
    for line in receipt.forms:
        assert re.fullmatch("[0-9A-Z]{6,12}", line.serial)
        assert re.fullmatch("[0-9]{4}", line.code)
        assert line.state in CustomsState


def test_a_dtd_is_refused():
    with pytest.raises(NotReadable):
        bcm1_xml.parse_xml(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')


# -- what an answer means (contract section 2) --------------------------------------------------

OURS = hashlib.sha256(b"ours").hexdigest()
WIRE = bcm1.Bcm1()
SENT = SignedMessage("BC7F3A9C2E", b"ours", OURS)


def answer(flag, number="BC7F3A9C2E", sha=OURS):
    return (
        f'<CommonResponeMessage xmlns="urn:blank-cert:bcm:1"><EtpsPreentNo>{number}</EtpsPreentNo>'
        f"<SeqNo>202200000000012345</SeqNo><PayloadSha256>{sha}</PayloadSha256>"
        f"<DealFlag>{flag}</DealFlag><CheckInfo>x</CheckInfo></CommonResponeMessage>"
    ).encode()


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (200, {}, answer("0000"), Taken),
        (200, {}, answer("0000", number="OTHER"), InDoubt),
        (200, {}, answer("0000", sha="0" * 64), Conflict),
        (200, {}, answer("0001"), InDoubt),
        (409, {}, answer("2201"), Taken),
        (409, {}, answer("2201", sha="0" * 64), Conflict),
        (409, {}, answer("0000"), InDoubt),
        (422, {}, answer("1001"), Refused),
        (422, {}, answer("1001", number="OTHER"), InDoubt),
        (429, {"Retry-After": "9" * 30}, b"", NotTaken),
        (422, {}, answer("0000"), InDoubt),
        (413, {}, b"", Refused),
        (401, {}, b"", NotTaken),
        (429, {"Retry-After": "7"}, b"", NotTaken),
        (503, {"Retry-After": "7"}, b"", NotTaken),
        (429, {}, b"", InDoubt),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", NotTaken),
        (503, {"Retry-After": "soon"}, b"", InDoubt),
        (200, {}, answer("0000", sha=OURS.upper()), Taken),
        (409, {}, answer("2201", sha=OURS.upper()), Taken),
        (200, {}, answer("0000", sha=""), InDoubt),
        (409, {}, answer("2201", sha=""), InDoubt),
        (500, {}, b"", InDoubt),
        (204, {}, b"", InDoubt),
        (302, {"Location": "/x"}, b"", InDoubt),
    ],
)
def test_answers_are_classified_as_the_contract_says(status, headers, body, kind):
    assert isinstance(WIRE.send_outcome(SENT, status, http._retry_after(headers), body), kind)


def test_retry_after_as_a_date_is_the_time_until_then_and_never_longer_than_we_wait():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 95 < http._retry_after({"Retry-After": soon}) <= 100
    assert http._retry_after({"Retry-After": "Wed, 21 Oct 2020 07:28:00 GMT"}) == 0
    assert http._retry_after({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}) == 3600


@pytest.mark.parametrize("body", [b"", b"<a/>", answer("0000")[:40], b"{}"])
@pytest.mark.parametrize("status", [200, 409, 422])
def test_a_garbled_answer_is_not_readable_and_so_in_doubt(status, body):
    with pytest.raises(NotReadable):
        WIRE.send_outcome(SENT, status, None, body)


@pytest.mark.parametrize(("state", "decided"), [("taken", False), ("decided", True)])
def test_of_a_message_whose_bytes_are_forgotten_any_bytes_are_ours(state, decided):
    seq_no = "202200000000012345"
    body = {"etpsPreentNo": "B1", "seqNo": seq_no, "payloadSha256": OURS, "state": state}
    assert WIRE.ask_outcome("B1", None, 200, json.dumps(body).encode()) == Taken(seq_no, decided)


@pytest.mark.parametrize("seq_no", [None, "1", "x" * 300, 7])
def test_what_is_no_number_of_customs_is_forgotten_and_receipts_tell_the_right_one(seq_no):
    body = {"etpsPreentNo": "B1", "seqNo": seq_no, "payloadSha256": OURS, "state": "taken"}
    assert WIRE.ask_outcome("B1", None, 200, json.dumps(body).encode()) == Taken("")


@pytest.mark.parametrize(
    "receipt",
    [{"receiptId": 7, "xml": "<x/>"}, {"receiptId": "R1"}, {"receiptId": "R1", "xml": "\ud800"}, 3],
)
def test_what_is_no_receipt_is_kept_as_text_that_the_parser_refuses(receipt):
    kept = bcm1._raw(receipt)
    assert kept.receipt_id == ""
    with pytest.raises(NotReadable):
        bcm1_xml.parse_receipt(kept.xml)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"etpsPreentNo": "BC7F3A9C2E", "seqNo": "1", "payloadSha256": OURS}, Taken),
        (200, {"etpsPreentNo": "OTHER", "seqNo": "1", "payloadSha256": OURS}, InDoubt),
        (200, {"etpsPreentNo": "BC7F3A9C2E", "seqNo": "1", "payloadSha256": "0"}, Conflict),
        (200, {"etpsPreentNo": "BC7F3A9C2E", "seqNo": "1", "payloadSha256": OURS.upper()}, Taken),
        (200, {"etpsPreentNo": "BC7F3A9C2E", "seqNo": "1", "payloadSha256": None}, InDoubt),
        (404, {"error": "not_found"}, NotFound),
        (404, {"error": "no such route"}, InDoubt),
        (500, {}, InDoubt),
    ],
)
def test_what_a_question_tells(status, body, kind):
    assert isinstance(WIRE.ask_outcome("BC7F3A9C2E", OURS, status, json.dumps(body).encode()), kind)


def test_nobody_there_is_certainly_not_taken():
    gateway = http.HttpGateway(WIRE, "http://127.0.0.1:9", "t", 2, 5)
    gateway.start_send("t", SENT, time.monotonic() + 60)
    ((_, outcome),) = gateway.completed(1)
    gateway.close()
    assert isinstance(outcome, NotTaken)


def test_a_send_that_cannot_begin_within_the_lease_is_not_begun():
    gateway = http.HttpGateway(WIRE, "http://127.0.0.1:9", "t", 2, 5)
    gateway.start_send("t", SENT, time.monotonic() - 1)
    ((_, outcome),) = gateway.completed(1)
    gateway.close()
    assert outcome == NotTaken("no time left in the lease", begun=False)


# -- callbacks (contract section 4) -------------------------------------------------------------

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def test_the_standardwebhooks_package_and_we_agree():
    body = '{"type":"receipt.created","note":"核销"}'
    now = datetime.now(UTC)
    stamp = int(now.timestamp())
    theirs = Webhook(SECRET).sign("msg_1", now, body)
    assert webhooks.sign(SECRET, "msg_1", stamp, body.encode()) == theirs
    webhooks.verify([SECRET], "msg_1", str(stamp), theirs, body.encode(), stamp)


@pytest.mark.parametrize(
    ("message_id", "moment", "signature"),
    [
        ("", "1000", None),
        ("msg_2", "1000", None),
        ("msg_1", "", None),
        ("msg_1", "abc", None),
        ("msg_1", "１０００", None),
        ("msg_1", "9" * 400, None),
        ("msg_1", "1000", ""),
        ("msg_1", "1000", "v1,"),
        ("msg_1", "1000", "v1,a,b v2,x  v1,%%%"),
        ("msg_1", "1000", "v1,\xff\xfe"),
        ("msg_1", "1301", None),
        ("msg_1", "699", None),
    ],
)
def test_a_callback_that_is_not_right_is_refused_and_nothing_else(message_id, moment, signature):
    given = signature
    if given is None:
        given = webhooks.sign(SECRET, "msg_1", 1000, b"{}")
    with pytest.raises(webhooks.SignatureRefused):
        webhooks.verify([SECRET], message_id, moment, given, b"{}", 1000)


def test_any_of_several_secrets_and_signatures_will_do_while_rotating():
    old = webhooks.sign(OTHER, "m", 1000, b"{}")
    new = webhooks.sign(SECRET, "m", 1000, b"{}")
    webhooks.verify([SECRET], "m", "1000", f"{old} {new}", b"{}", 1000)
    webhooks.verify([OTHER, SECRET], "m", "1000", new, b"{}", 1000)
    with pytest.raises(webhooks.SignatureRefused):
        webhooks.verify([SECRET], "m", "1000", old, b"{}", 1000)


@given(st.text(max_size=60), st.text(max_size=30), st.text(max_size=80), st.binary(max_size=60))
def test_no_header_makes_it_fail_otherwise(message_id, moment, signatures, body):
    with pytest.raises(webhooks.SignatureRefused):
        webhooks.verify([SECRET], message_id, moment, signatures, body, 1000)


def test_an_answer_is_no_receipt_though_the_schema_knows_it():
    answer = (DATA / "contract" / "CommonResponeMessage.accepted.xml").read_bytes()
    with pytest.raises(NotReadable):
        bcm1_xml.parse_receipt(answer)


def test_a_text_is_read_as_the_schema_sees_it():
    """A comment within a value does not cut it off."""
    receipt = SAMPLE_RECEIPT
    number = bcm1_xml.parse_receipt(receipt).number
    odd = number.encode()[:4] + b"<!-- x --><?p y?>" + number.encode()[4:]
    assert bcm1_xml.parse_receipt(receipt.replace(number.encode(), odd)).number == number
