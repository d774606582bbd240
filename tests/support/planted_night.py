"""A scripted night: one case, at least, of every class of difference, planted in both books."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import select, update

from models.rules.calendar import business_date
from models.rules.differences import DifferenceClass
from models.tables.forms import Block
from sheets.imports import CertificateRecord
from tasks.receipts import applying, inbox
from tasks.stock.imports import store_certificates
from tests.support.factories import (
    EXPORTER,
    SENDER,
    bring_in,
    certificate_number,
    confirm,
    receipt_xml,
    upload,
)

LAGGING, CONTRADICTED, UNANSWERED, RESERVED = (certificate_number("B", n) for n in (1, 2, 3, 4))
PRINTED = certificate_number("B", 5)
BY_HAND = certificate_number("B", 6)

EXPECTED = {
    DifferenceClass.LAGGING: {"211014001"},
    DifferenceClass.CONTRADICTION: {"211014002"},
    DifferenceClass.NO_ANSWER: {"211014003"},
    DifferenceClass.RESERVATION_EXPIRED: {"211014004"},
    DifferenceClass.OUTSIDE: {"211014030", "211014031"},
    DifferenceClass.UNKNOWN_AT_CUSTOMS: {"211014039", "211014040"},
    DifferenceClass.NEW_STOCK: {f"2110140{n}" for n in range(41, 51)},
    DifferenceClass.UNACCOUNTED: {"211013012"},
    DifferenceClass.UNMATCHED_RECEIPT: set(),
    DifferenceClass.PRINTED_NOT_VERIFIED: set(),
}


def record(number: str, pages: int, approved_on: date | None = None) -> CertificateRecord:
    return CertificateRecord(number, "B", EXPORTER, SENDER, approved_on, pages, "approved")


def plant(world) -> None:
    """Make the night; the clock stands more than a day later when it ends."""
    bring_in(world)
    today = business_date(world.clock() + timedelta(hours=25))
    certificates = [record(n, 1) for n in (LAGGING, CONTRADICTED, UNANSWERED, RESERVED, BY_HAND)]
    certificates.append(record(PRINTED, 2, today - timedelta(days=3)))
    store_certificates(world.context, certificates)
    ledger = world.customs.simulated.ledger
    ledger.approve(
        (
            c.number,
            c.type,
            c.exporter,
            c.agent,
            c.approved_on and str(c.approved_on),
            c.pages,
            c.status,
        )
        for c in certificates
    )
    _orders(world)
    stranger = receipt_xml("R-stranger", "STRANGER1", "2" * 18, [("211014005", "0000", "2")])
    with world.context.database.write() as session:
        inbox.store(session, [inbox.receipt_arrival("R-stranger", stranger, "poll")], world.clock())
    applying.apply(world.context)
    ledger.settle_by_hand("211014030", "B", "2", BY_HAND)
    ledger.settle_by_hand("211014031", "B", "3", BY_HAND)
    with ledger.transaction() as db:
        db.execute("DELETE FROM form WHERE serial IN ('211014039', '211014040')")
        db.execute("UPDATE form SET state = '1', certificate = NULL WHERE serial = '211014002'")
    ledger.issue((f"2110140{n}", "B", SENDER, date(2022, 5, 1)) for n in range(41, 51))
    with world.context.database.write() as session:
        block = session.scalars(select(Block.id).where(Block.first_serial == "211013011")).one()
        session.execute(
            update(Block).where(Block.id == block).values(last_serial="211013012", form_count=2)
        )
    world.clock.forward(hours=25)


def _orders(world) -> None:
    world.customs.play(
        {"fault": "receipt_never", "certificate": LAGGING},
        {"fault": "receipt_contradictory", "certificate": CONTRADICTED},
        {"fault": "person_first", "certificate": UNANSWERED, "seconds": 10**7},
    )
    for certificate, serial in (
        (LAGGING, "211014001"),
        (CONTRADICTED, "211014002"),
        (UNANSWERED, "211014003"),
    ):
        confirm(world, upload(world, [[certificate, "核销", serial]], name=f"{serial}.csv"))
    world.drain()
    confirm(world, upload(world, [[RESERVED, "核销", "211014004"]], name="reserved.csv"))
