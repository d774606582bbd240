"""What a night must not invent, and what a repair must leave alone."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import select, update

from models.rules.calendar import business_date
from models.rules.differences import DifferenceClass
from models.rules.errors import BadArgument, GatewayUnreachable, RunBusy, RunSuperseded
from models.rules.states import FormState, InboxState, RepairState, RunState
from models.tables.batches import Batch, Item
from models.tables.inbox import InboxMessage
from models.tables.reconciliation import Run
from sheets.imports import CertificateRecord, IssuedRange
from tasks.night import reconciliation, repairing
from tasks.orders import intake, planning
from tasks.stock import custody
from tasks.stock.imports import add_ranges, store_certificates
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SENDER,
    bring_in,
    certificate_number,
    confirm,
    upload,
)
from tests.support.nights import FIRST, differences, form, night

ISSUED = date(2022, 4, 1)
C = DifferenceClass


def found(world, run_id):
    return {(d.kind, d.first_serial) for d in differences(world, run_id)}


def remove_at_customs(world, serial):
    with world.customs.simulated.ledger.transaction() as db:
        db.execute("DELETE FROM form WHERE serial = ?", (serial,))


def repair(world, run_id, *kinds):
    return repairing.repair(world.context, run_id, list(kinds), FIRST)


def test_a_serial_that_sorts_into_a_range_is_not_in_it(world):
    bring_in(world)
    serials = ("262003099", "262003100", "2620030A1")
    ranges = [IssuedRange(SENDER, "B", s, s, 1, ISSUED) for s in serials]
    add_ranges(world.context, ranges, "sheet")
    ledger = world.customs.simulated.ledger
    ledger.issue((s, "B", SENDER, ISSUED) for s in serials)
    for serial in serials[:2]:
        ledger.settle_by_hand(serial, "B", "2", AGENT_HANDLED)
    world.clock.forward(hours=1)
    run_id = night(world)
    assert found(world, run_id) == {(C.OUTSIDE, "262003099")}
    repair(world, run_id)
    states = [form(world, s).state for s in serials]
    assert states == [FormState.VERIFIED, FormState.VERIFIED, FormState.ISSUED]


def test_a_serial_that_ends_in_a_letter_stops_nothing(world):
    bring_in(world)
    ledger = world.customs.simulated.ledger
    ledger.issue([("26200399A", "B", SENDER, ISSUED)])
    ledger.settle_by_hand("211014030", "B", "2", AGENT_HANDLED)
    world.clock.forward(hours=1)
    repair(world, night(world))
    assert form(world, "26200399A").state is FormState.ISSUED
    assert form(world, "211014030").state is FormState.VERIFIED


def test_what_a_certificate_used_before_us_or_outside_is_not_used_again(world):
    bring_in(world)
    today = business_date(world.clock() + timedelta(hours=1))
    before, outside, short = (certificate_number("B", n) for n in (801, 802, 803))
    pages = {before: 1, outside: 1, short: 2}
    records = [
        CertificateRecord(c, "B", EXPORTER, SENDER, today - timedelta(days=5), n, "approved")
        for c, n in pages.items()
    ]
    store_certificates(world.context, records)
    ledger = world.customs.simulated.ledger
    ledger.approve(
        (c.number, c.type, c.exporter, c.agent, str(c.approved_on), c.pages, c.status)
        for c in records
    )
    ledger.issue((s, "B", SENDER, ISSUED) for s in ("210000001", "210000002"))
    ledger.settle_by_hand("210000001", "B", "2", before)
    ledger.settle_by_hand("210000002", "B", "2", short)
    ledger.settle_by_hand("211014030", "B", "2", outside)
    world.clock.forward(hours=1)
    run_id = night(world)
    printed = [d for d in differences(world, run_id) if d.kind is C.PRINTED_NOT_VERIFIED]
    assert [(d.certificate, d.form_count, d.detail) for d in printed] == [(short, 1, "1/2")]
    repair(world, run_id, C.PRINTED_NOT_VERIFIED)
    with world.context.database.read() as session:
        assert [i.certificate for i in session.scalars(select(Item))] == [short]


def test_a_certificate_of_a_type_that_nobody_concerned_has_forms_of_is_printed_on_plain_paper(
    world,
):
    bring_in(world)
    approved_on = business_date(world.clock()) - timedelta(days=5)
    records = [
        CertificateRecord(certificate_number(kind, 801), kind, EXPORTER, SENDER, approved_on, 2, "approved")
        for kind in ("A", "E")
    ]  # fmt: skip
    store_certificates(world.context, records)
    world.customs.simulated.ledger.approve(
        (c.number, c.type, c.exporter, c.agent, str(c.approved_on), c.pages, c.status)
        for c in records
    )
    found = [d for d in differences(world, night(world)) if d.kind is C.PRINTED_NOT_VERIFIED]
    assert [d.certificate for d in found] == [certificate_number("A", 801)]


def test_a_receipt_of_the_longest_name_in_the_longest_trouble_stops_no_night(world):
    bring_in(world)
    with world.context.database.write() as session:
        odd = {"key": "R", "source": "poll", "body": b"", "state": InboxState.QUARANTINED}
        long = {"receipt_id": "R" * 255, "reason": "x" * 255, "received_at": world.clock()}
        session.add(InboxMessage(**odd, **long))
    (found,) = differences(world, night(world))
    assert (found.kind, len(found.detail)) == (C.UNMATCHED_RECEIPT, 400)


def test_a_later_night_supersedes_an_earlier_one(world):
    bring_in(world)
    remove_at_customs(world, "211014039")
    world.clock.forward(hours=1)
    first = night(world)
    world.customs.simulated.ledger.issue([("211014039", "B", SENDER, ISSUED)])
    world.clock.forward(days=1)
    second = night(world)
    with pytest.raises(RunSuperseded):
        repair(world, first)
    assert found(world, second) == set()
    assert form(world, "211014039").hold is None


def test_a_form_of_a_batch_is_not_held_behind_its_back(world):
    bring_in(world)
    remove_at_customs(world, "211014001")
    batch = upload(world, [[AGENT_HANDLED, "核销", "211014001", "", "代录入企业"]])
    confirm(world, batch)
    world.clock.forward(hours=1)
    run_id = night(world)
    assert repair(world, run_id) == {C.UNKNOWN_AT_CUSTOMS: {RepairState.LEFT: 1}}
    assert form(world, "211014001").hold is None


def test_a_lost_form_that_somebody_used_is_a_contradiction(world):
    bring_in(world)
    custody.lose(world.context, ["211014030"], None, "丢失")
    ledger = world.customs.simulated.ledger
    ledger.settle_by_hand("211014030", "B", "2", certificate_number("B", 999))
    world.clock.forward(hours=1)
    run_id = night(world)
    assert found(world, run_id) == {(C.CONTRADICTION, "211014030")}
    repair(world, run_id)
    assert form(world, "211014030").state is FormState.ISSUED


@pytest.mark.parametrize("minutes", [10, 20])
def test_what_customs_has_just_changed_is_still_in_motion(world, minutes):
    bring_in(world)
    world.clock.forward(minutes=minutes)
    world.customs.simulated.ledger.settle_by_hand("211014030", "B", "2", AGENT_HANDLED)
    with world.context.database.write() as session:
        from models.tables.forms import FormEvent

        session.execute(update(FormEvent).values(at=world.clock() - timedelta(hours=2)))
    run_id = night(world)
    assert bool(found(world, run_id)) == (minutes == 20)
    with world.context.database.read() as session:
        assert session.get_one(Run, run_id).moving == (1 if minutes == 10 else 0)


def test_a_clerks_own_check_does_not_count_as_prepared(world):
    bring_in(world)
    today = business_date(world.clock() + timedelta(hours=1))
    number = certificate_number("B", 801)
    record = CertificateRecord(
        number, "B", EXPORTER, SENDER, today - timedelta(days=5), 1, "approved"
    )
    store_certificates(world.context, [record])
    world.customs.simulated.ledger.approve(
        [(number, "B", EXPORTER, SENDER, str(record.approved_on), 1, "approved")]
    )
    upload(world, [[number, "作废", "211014020", "", "", "污损"]])
    world.clock.forward(hours=1)
    for _ in range(2):  # ordered twice, prepared once
        repair(world, night(world), C.PRINTED_NOT_VERIFIED)
        world.clock.forward(days=1)
    with world.context.database.read() as session:
        names = session.scalars(select(Batch.file_name).where(Batch.sha256.is_(None))).all()
    assert len(names) == 1


def test_one_repair_at_a_time(world):
    bring_in(world)
    remove_at_customs(world, "211014039")
    world.clock.forward(hours=1)
    run_id = night(world)
    lease = repairing._take(world.context, run_id)
    with pytest.raises(RunBusy):
        repair(world, run_id)
    assert lease


def test_customs_being_away_leaves_the_run_free_to_go_on(world):
    bring_in(world)
    gateway = world.context.gateway
    address, gateway._url = gateway._url, "http://127.0.0.1:9"
    run_id = reconciliation.open_run(world.context)
    for _ in range(2):  # and it says so each time, instead of waiting for itself
        with pytest.raises(GatewayUnreachable):
            reconciliation.reconcile(world.context, run_id)
    assert reconciliation.reconcile(world.context) is None  # the sweep leaves it for a while
    gateway._url = address
    assert reconciliation.reconcile(world.context, run_id) is RunState.FINISHED


def test_a_day_that_has_passed_or_not_come_has_no_run(world):
    for days in (-1, 1):
        with pytest.raises(BadArgument):
            reconciliation.open_run(world.context, business_date(world.clock()) + timedelta(days))


def test_orders_that_come_from_no_sheet_are_read_by_the_same_rules(world):
    from models.rules.states import PagesMode

    bring_in(world)
    orders = [
        {"certificate": c, "action": "核销", "page_count": "1"} for c in (AGENT_HANDLED, "B1", "")
    ]
    batch = intake.receive_orders(world.context, "x", orders, PagesMode.TOP_UP)
    planning.check(world.context, batch)
    with world.context.database.read() as session:
        assert session.get_one(Batch, batch).row_count == 3
