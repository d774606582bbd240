"""Stock, certificates and sheets for tests, in the words of the field."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from models.rules.states import PagesMode
from sheets.imports import CertificateRecord, IssuedRange
from tasks.orders import confirming, intake, planning
from tasks.stock.imports import add_ranges, store_certificates

SENDER = "91610131MA6TXQ0D1U"
EXPORTER = "91610000102690233L"
SELF_HANDLED = "A211026902331080"
AGENT_HANDLED = "B201026902331597"
HEADER = ("证书号", "操作", "空白证单流水号", "核销页数", "库存来源", "作废原因", "客户参考号")


def issued(owner: str, form_type: str, first: str, count: int) -> IssuedRange:
    last = str(int(first) + count - 1).zfill(len(first))
    return IssuedRange(owner, form_type, first, last, count, date(2022, 4, 1))


SAMPLE_RANGES = (
    issued(EXPORTER, "A", "211013011", 1),
    issued(EXPORTER, "A", "211013013", 4),
    issued(EXPORTER, "B", "211013201", 16),
    issued(SENDER, "B", "211014001", 40),
)
SAMPLE_CERTIFICATES = (
    CertificateRecord(SELF_HANDLED, "A", EXPORTER, EXPORTER, date(2022, 5, 10), 4, "approved"),
    CertificateRecord(AGENT_HANDLED, "B", EXPORTER, SENDER, date(2022, 5, 11), 16, "approved"),
    CertificateRecord("B201026902331601", "B", EXPORTER, EXPORTER, None, 2, "approved"),
    CertificateRecord("B201026902331700", "B", EXPORTER, EXPORTER, None, 2, "pending"),
)
WITHOUT_PAGES = tuple(replace(c, pages=None) for c in SAMPLE_CERTIFICATES)
"""The same where nobody knows how many pages they have."""


def certificate_number(kind: str, number: int) -> str:
    return f"{kind}20102690233{number:04d}"


def agent_certificate(number: int) -> CertificateRecord:
    name = certificate_number("B", number)
    return CertificateRecord(name, "B", EXPORTER, SENDER, None, 20, "approved")


def receipt_xml(
    receipt_id, number, seq_no, lines, *, action="V", certificate=AGENT_HANDLED, receiver=SENDER,
    result=None, first=1,
):  # fmt: skip
    """A BCM201 of these (serial, RepCode, FormState) that keeps the schema; what it says may be odd."""
    codes = {code for _, code, _ in lines}
    if result is None:
        result = "1" if codes == {"0000"} else "4" if codes == {"4001"} else "3"
    returned = "".join(
        f"<BlankCertReturn><GNo>{n}</GNo><SerialNo>{serial}</SerialNo><RepCode>{code}</RepCode>"
        f"<RepMsg>x</RepMsg><FormState>{state}</FormState></BlankCertReturn>"
        for n, (serial, code, state) in enumerate(lines, start=first)
    )
    moment = "2026-11-26 10:00:00"
    return (
        '<?xml version="1.0" encoding="UTF-8"?><Package xmlns="urn:blank-cert:bcm:1" ver="1.0">'
        f"<EnvelopInfo><version>1.0</version><message_id>{receipt_id}</message_id>"
        f"<file_name>{receipt_id}.xml</file_name><message_type>BCM201</message_type>"
        f"<sender_id>CUSTOMS</sender_id><receiver_id>{receiver}</receiver_id>"
        f"<send_time>{moment}</send_time></EnvelopInfo><DataInfo><BussinessData><BlankCertReceipt>"
        f"<ReceiptId>{receipt_id}</ReceiptId><EtpsPreentNo>{number}</EtpsPreentNo>"
        f"<SeqNo>{seq_no}</SeqNo><OperType>{action}</OperType><CertNo>{certificate}</CertNo>"
        f"<ManageResult>{result}</ManageResult><ManageTime>{moment}</ManageTime>{returned}"
        "</BlankCertReceipt></BussinessData></DataInfo></Package>"
    ).encode()


def bring_in(world, ranges=SAMPLE_RANGES, certificates=SAMPLE_CERTIFICATES):
    """Stock and certificates, known to us and to customs."""
    add_ranges(world.context, ranges, "sheet")
    store_certificates(world.context, certificates)
    ledger = world.customs.simulated.ledger
    for r in ranges:
        first = int(r.first_serial)
        ledger.issue(
            (str(first + i).zfill(len(r.first_serial)), r.form_type, r.owner, r.issued_on)
            for i in range(r.form_count)
        )
    ledger.approve(
        (c.number, c.type, c.exporter, c.agent, None, c.pages, c.status) for c in certificates
    )


def sheet(rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def upload(world, rows, header=HEADER, name="orders.csv", mode=PagesMode.ADDITIONAL) -> int:
    """A checked batch of these rows."""
    batch_id = intake.receive_sheet(world.context, sheet(rows, header), name, mode)
    planning.check(world.context, batch_id)
    return batch_id


def confirm(world, batch_id: int, **said) -> bool:
    return confirming.confirm(world.context, batch_id, confirming.Confirmation(**said))
