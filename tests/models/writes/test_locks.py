"""Transactions that meet on PostgreSQL: nobody deadlocks, and nobody acts on what has moved."""

from __future__ import annotations

import threading
from functools import partial

import pytest
from sqlalchemy import select

from models.rules.card_errors import SigningError
from models.rules.differences import DifferenceClass
from models.rules.states import (
    BatchState,
    CardState,
    DeliveryState,
    FormState,
    NotificationType,
    RepairState,
    SubmissionState,
)
from models.tables.batches import Batch
from models.tables.card import Card
from models.tables.notifications import Delivery
from models.tables.submissions import Submission
from models.writes import moves
from models.writes.announcements import announce
from models.writes.cards import note_card
from tasks import upkeep
from tasks.messages import preparing, sending, signing
from tasks.night import repair_actions, repairing
from tasks.notify import delivering, endpoints
from tasks.orders import confirming, reserving
from tasks.receipts import applying, inbox
from tasks.stock import custody, imports
from tests.conftest import settings_for
from tests.support.factories import (
    AGENT_HANDLED,
    agent_certificate,
    bring_in,
    confirm,
    issued,
    receipt_xml,
    upload,
)
from tests.support.looking import results
from tests.support.nights import FIRST, form, night
from tests.support.receiver import receiver


@pytest.fixture(autouse=True)
def postgresql_only(world):
    if world.context.database.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time")


def together(*jobs):
    """Run the jobs in threads; gives what each raised."""
    errors: list[BaseException | None] = [None] * len(jobs)

    def run(index, job):
        try:
            job()
        except BaseException as error:
            errors[index] = error

    threads = [threading.Thread(target=run, args=(i, j)) for i, j in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return errors


def test_forms_coming_back_and_a_reservation_do_not_deadlock(world, monkeypatch):
    bring_in(world, certificates=[agent_certificate(n) for n in (1, 2)])
    world.customs.play({"fault": "refuse_form", "serial": "211014001", "code": "2106"})
    first = upload(world, [[agent_certificate(1).number, "核销", "211014001"]])
    confirm(world, first)
    preparing.prepare(world.context, first)
    signing.sign(world.context)
    sending.send(world.context)
    world.customs.simulated.decide_due()
    inbox.poll(world.context)
    second = upload(world, [[agent_certificate(2).number, "核销", "", 1]], name="2.csv")
    reopened, reserved = threading.Event(), threading.Event()
    original = moves.reopen_blocks

    def reopen(session, ids):
        original(session, ids)
        reopened.set()
        reserved.wait(1.0)  # the other one has begun, and waits for us or has ended

    monkeypatch.setattr(moves, "reopen_blocks", reopen)

    def reserve():
        reopened.wait(10)
        confirm(world, second)
        reserved.set()

    assert together(lambda: applying.apply(world.context), reserve) == [None, None]
    world.drain()
    world.assert_sound()


def test_announcing_and_recording_deliveries_do_not_deadlock(world):
    world.context.settings = settings_for(
        world.context.settings.blankforms_home, NOTIFY_NETWORKS="127.0.0.0/8",
        NOTIFICATION_KEY="k" * 40,
    )  # fmt: skip
    low = NotificationType.STOCK_LOW
    with receiver() as made:
        for kind in (NotificationType.BATCH_FINISHED, NotificationType.FORM_REFUSED):
            endpoints.add(world.context, made.url, [kind, low])
        with world.context.database.write() as session:
            announce(session, low, {}, world.clock())
        half, delivered = threading.Event(), threading.Event()

        def announcing():
            with world.context.database.write() as session:
                announce(session, NotificationType.FORM_REFUSED, {}, world.clock(), 1)
                half.set()
                delivered.wait(2.0)
                announce(session, NotificationType.BATCH_FINISHED, {}, world.clock(), 1)

        def delivery():
            half.wait(10)
            delivering.deliver(world.context)
            delivered.set()

        assert together(announcing, delivery) == [None, None]
        delivering.deliver(world.context)
        with world.context.database.read() as session:
            states = session.scalars(select(Delivery.state)).all()
        assert states == [DeliveryState.DELIVERED] * 4


def test_the_same_receipts_by_callback_and_by_polling_at_once_do_not_deadlock(world):
    def storing(arrivals, new):
        with world.context.database.write() as session:
            new += inbox.store(session, arrivals, world.clock())

    for page in range(20):
        arrivals = [inbox.receipt_arrival(f"R{page}-{n}", b"<x/>", "poll") for n in range(200)]
        new: list[str] = []
        raised = together(partial(storing, arrivals, new), partial(storing, arrivals[::-1], new))
        assert raised == [None, None]
        assert sorted(new) == sorted(a.key for a in arrivals)


def test_two_imports_of_the_same_certificates_at_once_do_not_deadlock(world):
    records = [agent_certificate(n) for n in range(1000)]

    def storing(order):
        imports.store_certificates(world.context, order)

    for _ in range(10):
        both = together(partial(storing, records), partial(storing, records[::-1]))
        assert both == [None, None]


def test_two_imports_into_the_same_stocks_at_once_do_not_deadlock(world):
    for round_ in range(10):
        ranges = [
            issued(f"91610131MA6TXQ{n:04d}", "B", f"{300 + round_}{n:03d}000", 20)
            for n in range(10)
        ]
        both = together(
            partial(imports.add_ranges, world.context, ranges, "sheet"),
            partial(imports.add_ranges, world.context, ranges[::-1], "sheet"),
        )
        assert both == [None, None]


def test_a_form_reserved_meanwhile_is_not_reported_lost(world, monkeypatch):
    bring_in(world)
    batch = upload(world, [[AGENT_HANDLED, "核销", "211014001"]])
    original, confirmed = custody._concerned, []

    def concerned(*arguments):
        found = original(*arguments)
        if not confirmed:
            confirmed.append(confirm(world, batch))
        return found

    monkeypatch.setattr(custody, "_concerned", concerned)
    done = custody.lose(world.context, ["211014001"], None, "丢失")
    assert ([f.serial for f in done.changed], [f.serial for f in done.refused]) == (
        [],
        ["211014001"],
    )
    assert form(world, "211014001").lost_at is None


def test_a_form_reserved_meanwhile_is_not_adopted(world, monkeypatch):
    bring_in(world)
    batch = upload(world, [[AGENT_HANDLED, "核销", "211014030"]])
    world.customs.simulated.ledger.settle_by_hand("211014030", "B", "2", AGENT_HANDLED)
    world.clock.forward(hours=1)
    run_id = night(world)
    original = repair_actions.lock_stocks_of

    def lock(session, form_ids):
        confirm(world, batch)  # the reservation has the stock first
        original(session, form_ids)

    monkeypatch.setattr(repair_actions, "lock_stocks_of", lock)
    done = repairing.repair(world.context, run_id, [DifferenceClass.OUTSIDE], FIRST)
    assert done == {DifferenceClass.OUTSIDE: {RepairState.LEFT: 1}}
    assert form(world, "211014030").state is FormState.RESERVED


def held_open(monkeypatch, module, name, *, before):
    """Hold the transaction that calls this function first open, before the call or behind it, until the
    other job has ended or must be waiting for it; gives the events `begun` and `ended`.
    """
    begun, ended, original, calls = threading.Event(), threading.Event(), getattr(module, name), []

    def wait():
        begun.set()
        ended.wait(1.0)

    def held(*arguments, **named):
        first = not calls
        calls.append(name)
        if first and before:
            wait()
        result = original(*arguments, **named)
        if first and not before:
            wait()
        return result

    monkeypatch.setattr(module, name, held)
    return begun, ended


def test_of_two_reservations_from_one_stock_at_once_the_second_takes_the_next_forms(
    world, monkeypatch
):
    """Without the stock's lock it plans what the first is taking, and goes back to a person."""
    bring_in(world, certificates=[agent_certificate(n) for n in (1, 2)])
    first, second = (
        upload(world, [[agent_certificate(n).number, "核销", "", 2]], name=f"{n}.csv")
        for n in (1, 2)
    )
    begun, ended = held_open(monkeypatch, reserving, "_take", before=False)

    def reserve():
        begun.wait(10)
        confirm(world, second)
        ended.set()

    assert together(lambda: confirm(world, first), reserve) == [None, None]
    taken = [results(world, batch)[0].serial_list for batch in (first, second)]
    assert taken == [["211014001", "211014002"], ["211014003", "211014004"]]
    world.assert_sound()


def test_two_receipts_of_one_message_at_once_end_it(world, monkeypatch):
    """Without the message's lock each sees the other's form still under way, and nobody ends it."""
    bring_in(world)
    batch = upload(world, [[AGENT_HANDLED, "核销", "211014001-2"]])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    signing.sign(world.context)
    sending.send(world.context)
    with world.context.database.read() as session:
        number, seq_no = session.execute(select(Submission.number, Submission.seq_no)).one()

    def told(receipt_id, place, serial):
        xml = receipt_xml(receipt_id, number, seq_no, [(serial, "0000", "2")], first=place)
        with world.context.database.write() as session:
            inbox.store(session, [inbox.receipt_arrival(receipt_id, xml, "poll")], world.clock())

    begun, ended = held_open(monkeypatch, applying, "write_decisions", before=True)
    told("R1", 1, "211014001")

    def another_worker():
        begun.wait(10)
        told("R2", 2, "211014002")
        applying.apply(world.context)
        ended.set()

    assert together(lambda: applying.apply(world.context), another_worker) == [None, None]
    with world.context.database.read() as session:
        assert session.scalars(select(Submission.state)).all() == [SubmissionState.DECIDED]
        assert session.get_one(Batch, batch).state is BatchState.FINISHED
    assert {form(world, s).state for s in ("211014001", "211014002")} == {FormState.VERIFIED}


def test_an_old_upload_that_somebody_confirms_just_now_is_not_cleared_away(world, monkeypatch):
    bring_in(world)
    kept, old, _newest = (  # the newest is never cleared: its number would come again
        upload(world, [[AGENT_HANDLED, "核销", serial]], name=f"{serial}.csv")
        for serial in ("211014001", "211014002", "211014003")
    )
    world.clock.forward(days=8)
    begun, ended = held_open(monkeypatch, confirming, "submitted_before", before=False)
    cleared = []

    def sweep():
        begun.wait(10)
        cleared.extend(upkeep.clear_unconfirmed(world.context))
        ended.set()

    assert together(lambda: confirm(world, kept), sweep) == [None, None]
    assert cleared == [old]
    assert results(world, kept)[0].serial_list == ["211014001"]
    world.drain()
    assert world.customs.effects() == {"211014001": "V"}
    world.assert_sound()


def test_two_submitters_that_see_a_new_card_at_once_both_note_it(world):
    noted, both = threading.Event(), threading.Event()

    def first():
        with world.context.database.write() as session:
            note_card(session, "card", None, world.clock(), world.clock())
            noted.set()
            both.wait(1.0)  # the other one has begun, and waits for this one

    def second():
        noted.wait(10)
        with world.context.database.write() as session:
            note_card(session, "card", SigningError(detail="away"), world.clock(), world.clock())
        both.set()

    assert together(first, second) == [None, None]
    with world.context.database.read() as session:
        assert session.scalars(select(Card.state)).all() == [CardState.ABSENT]
