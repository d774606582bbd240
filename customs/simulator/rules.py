"""Customs' own rules, in the order in which it checks (contract section 3).

Signatures are checked here from the parsed document with lxml's canonicalisation, not with the
code that made them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from lxml import etree

from customs.profile import bcm1_xml
from customs.signing.xmldsig import C14N, DS, ENVELOPED
from customs.wire import NotReadable

SIZE_LIMIT: Final = 256 * 1024
ISSUED: Final = "1"
VERIFY: Final = "V"
STATE_OF: Final = {VERIFY: "2", "Z": "3"}
TEXTS: Final = {
    "0000": "成功",
    "2101": "空白证单流水号不存在",
    "2102": "空白证单状态不符",
    "2103": "空白证单非本企业领用",
    "2104": "证书号不存在或未审核通过",
    "2105": "空白证单类型与证书类型不符",
    "2106": "核销页数与证书页数不符",
    "2107": "空白证单已用于其他证书",
    "4001": "待人工审核",
}
_NS: Final = {"b": bcm1_xml.NAMESPACE, "ds": DS}
_RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256: Final = "http://www.w3.org/2001/04/xmlenc#sha256"


class Rejected(Exception):
    """The message is refused whole, with this DealFlag."""

    def __init__(self, flag: str, text: str) -> None:
        super().__init__(flag, text)
        self.flag = flag
        self.text = text


@dataclass(frozen=True, slots=True)
class Order:
    """A message as customs reads it."""

    number: str
    sender: str
    operation: str
    certificate: str
    certificate_type: str
    exporter: str
    agent: str
    stock_owner: str
    forms: Sequence[tuple[str, str]]
    """(serial, form type)"""


def read_order(body: bytes, trusted: Sequence[bytes]) -> Order:
    """Check format, schema, signature and card; give the order. Raises `Rejected`."""
    try:
        root = bcm1_xml.parse_xml(body)
    except NotReadable as error:
        raise Rejected("0001", str(error)[:200]) from None
    if not bcm1_xml.SCHEMA.validate(root):
        raise Rejected("0002", str(bcm1_xml.SCHEMA.error_log)[:200])
    message = root.find(".//b:BlankCertMessage", _NS)
    if message is None:
        raise Rejected("0002", "not a BCM101")
    card = _check_signature(root, trusted)
    sender = _text(root, ".//b:sender_id")
    names = card.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    if sender not in {str(n.value) for n in names}:
        raise Rejected("2301", "卡与企业不符")
    forms = [
        (_text(f, "b:SerialNo"), _text(f, "b:FormType"))
        for f in message.iterfind(".//b:BlankCert", _NS)
    ]
    return Order(
        number=_text(message, ".//b:EtpsPreentNo"),
        sender=sender,
        operation=_text(message, ".//b:OperType"),
        certificate=_text(message, ".//b:CertNo"),
        certificate_type=_text(message, ".//b:CertType"),
        exporter=_text(message, ".//b:CiqRegNo"),
        agent=_text(message, ".//b:AplRegNo"),
        stock_owner=_text(message, ".//b:StockOwner"),
        forms=forms,
    )


def _check_signature(root: etree._Element, trusted: Sequence[bytes]) -> x509.Certificate:
    signature = root[-1]
    if signature.tag != f"{{{DS}}}Signature":
        raise Rejected("1001", "没有签名")
    info = signature.find("ds:SignedInfo", _NS)
    certificate = b64decode(signature.findtext(".//ds:X509Certificate", "", _NS))
    if info is None or certificate not in trusted:
        raise Rejected("1002", "证书不受信任")
    card = x509.load_der_x509_certificate(certificate)
    if not card.not_valid_before_utc <= datetime.now(UTC) <= card.not_valid_after_utc:
        raise Rejected("1002", "证书已过期")
    algorithms = [e.get("Algorithm") for e in info.iter() if e.get("Algorithm")]
    if algorithms != [C14N, _RSA_SHA256, ENVELOPED, _SHA256]:
        raise Rejected("1001", "签名算法")
    key = card.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Rejected("1001", "签名算法")
    value = b64decode(signature.findtext("ds:SignatureValue", "", _NS))
    try:
        key.verify(value, _canonical(info), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise Rejected("1001", "数字签名无效") from None
    digest = b64decode(info.findtext(".//ds:DigestValue", "", _NS))
    root.remove(signature)
    if hashlib.sha256(_canonical(root)).digest() != digest:
        raise Rejected("1004", "签名与数据不符")
    return card


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=False, with_comments=False)


def decide_message(db: sqlite3.Connection, order: Order) -> str | None:
    """The RepCode for every form of an order that is refused for its certificate or its pages."""
    certificate = db.execute(
        "SELECT * FROM certificate WHERE number = ?", (order.certificate,)
    ).fetchone()
    parties = (order.exporter, order.agent)
    if (
        certificate is None
        or certificate["status"] != "approved"
        or (certificate["exporter"], certificate["agent"]) != parties
    ):
        return "2104"
    pages = certificate["pages"]
    if order.operation == VERIFY and pages is not None:
        used = db.execute(
            "SELECT COUNT(*) FROM form WHERE certificate = ? AND state = ?",
            (order.certificate, STATE_OF[VERIFY]),
        ).fetchone()[0]
        if used + len(order.forms) > pages:
            return "2106"
    return None


def decide_form(db: sqlite3.Connection, order: Order, serial: str, form_type: str) -> str:
    """The RepCode for one form of an order that is not refused whole, by customs' own books."""
    parties = (order.exporter, order.agent)
    found = db.execute("SELECT * FROM form WHERE serial = ?", (serial,)).fetchall()
    if not found:
        return "2101"
    form = next((f for f in found if f["form_type"] == form_type), found[0])
    if form["holder"] != order.stock_owner or order.stock_owner not in parties:
        return "2103"
    if form["certificate"] not in (None, order.certificate):
        return "2107"
    if form["state"] != ISSUED:
        return "2102"
    if form["form_type"] != form_type or form_type != order.certificate_type:
        return "2105"
    return "0000"


def _text(node: etree._Element, path: str) -> str:
    return (node.findtext(path, "", _NS)).strip()
