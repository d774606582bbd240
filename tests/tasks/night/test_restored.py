"""A backup was restored: customs remembers what the database has forgotten."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from customs.profile.bcm1 import Bcm1
from models.reads.invariants import broken_invariants
from models.rules.errors import CustomsUndecided, DatabaseRestored, NotAdopted, NotReconciled
from models.rules.states import BatchState, FormState, SubmissionState
from models.tables.batches import Batch
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form
from models.tables.submissions import Submission
from models.writes.line import customs_link
from tasks.journal import Entry, Journal
from tasks.messages import preparing, sending, signing
from tasks.night import reconciliation, repairing, restored
from tasks.night.repair_actions import Order
from tasks.orders import confirming, releasing, reserving
from tasks.receipts import applying, inbox
from tests.conftest import settings_for
from tests.support.factories import (
    SAMPLE_CERTIFICATES,
    agent_certificate,
    bring_in,
    certificate_number,
    confirm,
    upload,
)
from tests.support.restoring import backup, restore

CERTIFICATES = [certificate_number("B", n) for n in range(1, 7)]


def orders(certificates):
    return [(c, "核销", "", "2") for c in certificates]


def count(world, query):
    with world.context.database.read() as session:
        return session.scalar(select(func.count()).select_from(query.subquery()))


def prepared(world, certificates):
    """The messages of these certificates are made, and nothing is signed."""
    bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, range(1, 7))])
    batch = upload(world, orders(certificates))
    confirm(world, batch)
    preparing.prepare(world.context, batch)


@pytest.fixture
def older(world):
    """Three certificates were in the backup, three more were verified after it."""
    bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, range(1, 7))])
    confirm(world, upload(world, orders(CERTIFICATES[:3])))
    world.drain()
    world.clock.forward(seconds=5)
    taken = backup(world.context.database)
    confirm(world, upload(world, orders(CERTIFICATES[3:])))
    world.drain()
    restore(world.context.database, taken)
    return world


def test_nothing_is_reserved_and_nothing_sent(older):
    before = len(older.customs.messages())
    batch = upload(older, orders(CERTIFICATES[3:]))
    with pytest.raises(DatabaseRestored):
        confirm(older, batch)
    assert sending.send(older.context) == 0
    assert len(older.customs.messages()) == before


def test_every_message_that_the_database_forgot_is_listed(older):
    assert [e.certificate for e in restored.unknown(older.context)] == CERTIFICATES[3:]


def test_what_was_signed_in_the_backup_is_not_sent_before_a_person_says_so(world):
    prepared(world, CERTIFICATES[:2])
    signing.sign(world.context)
    taken = backup(world.context.database)
    world.drain()
    restore(world.context.database, taken)
    world.clock.forward(hours=1)
    posts = len(world.customs.messages())
    assert sending.send(world.context) == 0
    assert (
        count(world, select(Submission.id).where(Submission.state == SubmissionState.SIGNED)) == 2
    )
    world.clock.forward(hours=1)
    inbox.poll(world.context)
    applying.apply(world.context)  # nobody waits for them: the database does not know that it sent
    reconciled(world)
    restored.accept(world.context, "值班")
    assert (
        count(world, select(Submission.id).where(Submission.state == SubmissionState.SIGNED)) == 0
    )
    world.drain()
    world.assert_sound()
    assert len(world.customs.messages()) == posts
    assert count(world, select(Form.id).where(Form.state == FormState.VERIFIED)) == 4
    assert count(world, select(Batch.id).where(Batch.state == BatchState.FINISHED)) == 1


def test_what_was_confirmed_in_the_backup_is_not_reserved(world, monkeypatch):
    bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, range(1, 7))])
    first, second = (upload(world, orders(c)) for c in (CERTIFICATES[:2], CERTIFICATES[2:4]))
    with monkeypatch.context() as dying:  # the process ends between the yes and the reservation
        dying.setattr(confirming, "reserve", lambda *_: None)
        confirm(world, second)
    taken = backup(world.context.database)
    confirm(world, first)
    world.drain()
    restore(world.context.database, taken)
    with pytest.raises(DatabaseRestored):
        reserving.reserve(world.context, second)
    assert count(world, select(Form.id).where(Form.state == FormState.RESERVED)) == 0
    assert ("confirmed",) in states_of_batches(world)


def states_of_batches(world):
    with world.context.database.read() as session:
        return [(state.value,) for state in session.scalars(select(Batch.state))]


def test_a_sender_under_way_notices_that_its_database_has_changed(world, monkeypatch):
    world.context.settings = settings_for(
        world.context.settings.blankforms_home, SEND_CONCURRENCY="1"
    )
    prepared(world, CERTIFICATES)
    signing.sign(world.context)
    taken = backup(world.context.database)
    monkeypatch.setattr(sending, "WINDOW_FACTOR", 2)  # few claims at once, as in a long batch
    completed, back = world.context.gateway.completed, []

    def restored_meanwhile(count, wait=None):
        found = completed(count, wait)
        if not back:
            back.append(True)
            restore(world.context.database, taken)
        return found

    monkeypatch.setattr(world.context.gateway, "completed", restored_meanwhile)
    sending.send(world.context)
    assert 0 < len(world.customs.messages()) < len(CERTIFICATES)
    assert len(restored.unknown(world.context)) == len(world.customs.messages())


def test_one_senders_note_does_not_hide_what_the_database_forgot_of_another(older):
    known = older.context.journal
    with older.context.database.read() as session:
        sent = session.scalars(select(Submission).order_by(Submission.id)).first()
    known.note([Entry("2026-01-01T00:00:09+00:00", sent.number, 1, "verify", sent.certificate)])
    with older.context.database.read() as session:
        assert known.behind(session)


def reconciled(world):
    run = reconciliation.open_run(world.context)
    reconciliation.reconcile(world.context, run, 60)
    repairing.repair(world.context, run, [], Order("值班", "恢复备份"))


def test_it_ends_after_a_reconciliation_and_customs_is_believed(older):
    with pytest.raises(NotReconciled):
        restored.accept(older.context, "值班")
    older.clock.forward(hours=1)
    reconciled(older)
    forgotten = restored.accept(older.context, "值班")
    assert len(forgotten) == 3
    assert restored.unknown(older.context) == []
    assert restored.accept(older.context, "值班") == []
    assert count(older, select(Form.id).where(Form.state == FormState.VERIFIED)) == 12
    assert count(older, select(Form.id).where(Form.outside)) == 6
    listed = select(Discrepancy.id).where(Discrepancy.kind == "sent_before_restore")
    assert count(older, listed) == 3
    confirm(older, upload(older, [(CERTIFICATES[0], "核销", "", "1")]))
    older.drain()
    effects = older.customs.effects()
    assert len(effects) == 13


def test_the_same_old_database_that_comes_back_once_more_is_noticed_though_nothing_was_sent_since(
    older,
):
    again = backup(older.context.database)
    older.clock.forward(hours=1)
    reconciled(older)
    restored.accept(older.context, "值班")
    restore(older.context.database, again)
    with pytest.raises(DatabaseRestored):
        confirm(older, upload(older, orders(CERTIFICATES[3:]), name="again.csv"))
    assert len(restored.unknown(older.context)) == 3
    older.clock.forward(hours=1)
    reconciled(older)
    assert len(restored.accept(older.context, "值班")) == 3
    with older.context.database.read() as session:
        assert not older.context.journal.behind(session)
    assert len(older.customs.effects()) == 12


def sent_minutes_ago(world):
    """Three certificates are sent, taken and forgotten; customs has not decided them."""
    bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, range(1, 7))])
    taken = backup(world.context.database)
    batch = upload(world, orders(CERTIFICATES[:3]))
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    signing.sign(world.context)
    sending.send(world.context)
    restore(world.context.database, taken)
    world.clock.forward(minutes=2)


def asked_twice(world):
    """Serials that customs was asked to decide by more than one message."""
    return world.customs.simulated.ledger.read(
        "SELECT serial FROM decision GROUP BY serial HAVING COUNT(DISTINCT message_id) > 1"
    )


def test_forms_that_customs_changed_minutes_ago_are_not_used_again(world):
    sent_minutes_ago(world)
    world.customs.simulated.decide_due()
    reconciled(world)
    assert len(restored.accept(world.context, "值班")) == 3
    confirm(world, upload(world, orders(CERTIFICATES[3:]), name="b.csv"))
    world.drain()
    assert asked_twice(world) == []
    assert len(world.customs.effects()) == 12


def test_customs_list_is_not_believed_before_customs_has_decided_what_was_forgotten(world):
    sent_minutes_ago(world)
    run = reconciliation.open_run(world.context)
    with pytest.raises(CustomsUndecided) as refusal:
        reconciliation.reconcile(world.context, run, 60)
    assert refusal.value.values["count"] == 3
    with pytest.raises(NotReconciled):
        restored.accept(world.context, "值班")
    world.customs.simulated.decide_due()
    reconciled(world)
    assert len(restored.accept(world.context, "值班")) == 3
    assert count(world, select(Form.id).where(Form.outside)) == 6


def test_a_message_that_may_still_be_on_its_way_is_waited_for(world):
    bring_in(world)
    now = world.context.now().isoformat()
    world.context.journal.note([Entry(now, "A" * 32, 1, "verify", CERTIFICATES[0])])
    run = reconciliation.open_run(world.context)
    with pytest.raises(CustomsUndecided):
        reconciliation.reconcile(world.context, run, 60)
    world.clock.forward(hours=1)
    reconciled(world)
    assert len(restored.accept(world.context, "值班")) == 1


def test_nothing_is_accepted_before_the_differences_are_repaired(older):
    older.clock.forward(hours=1)
    run = reconciliation.open_run(older.context)
    reconciliation.reconcile(older.context, run, 60)
    with pytest.raises(NotAdopted) as refusal:
        restored.accept(older.context, "值班")
    assert refusal.value.values["count"] == 6


def test_what_a_card_signed_while_the_database_was_restored_is_not_stored(world, monkeypatch):
    prepared(world, CERTIFICATES[:1])
    taken = backup(world.context.database)
    really = Bcm1.signed_message

    def restored_meanwhile(*given):
        monkeypatch.undo()
        world.clock.forward(seconds=61)  # this card is slow, and has lost its claim
        world.drain()  # another signer was first, and the sender
        restore(world.context.database, taken)
        return really(*given)

    monkeypatch.setattr(Bcm1, "signed_message", restored_meanwhile)
    with pytest.raises(DatabaseRestored):
        signing.sign(world.context)
    with world.context.database.read() as session:
        assert session.scalars(select(Submission.state)).all() == [SubmissionState.PREPARED]


def test_in_an_older_database_no_message_is_claimed_to_be_signed(world):
    prepared(world, CERTIFICATES[:1])
    world.context.journal.mark_restored(world.clock())
    with pytest.raises(DatabaseRestored):
        signing.sign(world.context)
    assert count(world, select(Submission.id).where(Submission.lease_until.is_not(None))) == 0


@pytest.mark.parametrize("at_customs", [True, False], ids=["it has it", "it never came"])
def test_what_the_backup_had_prepared_is_asked_about_before_it_is_signed(world, at_customs):
    prepared(world, CERTIFICATES[:3])
    taken = backup(world.context.database)
    if at_customs:
        world.drain()
    else:
        with world.context.database.read() as session:
            sent = session.scalars(select(Submission)).all()
        now = world.context.now().isoformat()
        world.context.journal.note(
            Entry(now, s.number, 1, s.action.value, s.certificate) for s in sent
        )
    restore(world.context.database, taken)
    world.clock.forward(hours=1)
    with pytest.raises(DatabaseRestored):
        signing.sign(world.context)
    reconciled(world)
    assert len(restored.accept(world.context, "值班")) == 3
    world.drain()
    world.assert_sound()
    assert asked_twice(world) == []
    assert len(world.customs.messages()) == 3
    assert count(world, select(Form.id).where(Form.state == FormState.VERIFIED)) == 6
    assert count(world, select(Batch.id).where(Batch.state == BatchState.FINISHED)) == 1


def test_what_the_backup_had_only_reserved_is_not_asked_of_customs_again(world):
    bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, range(1, 7))])
    batch = upload(world, orders(CERTIFICATES[:3]))
    confirm(world, batch)
    taken = backup(world.context.database)
    world.drain()
    restore(world.context.database, taken)
    world.clock.forward(hours=1)
    for stage in (lambda c: preparing.prepare(c, batch), signing.sign):
        with pytest.raises(DatabaseRestored):
            stage(world.context)
    run = reconciliation.open_run(world.context)
    reconciliation.reconcile(world.context, run, 60)
    repairing.repair(world.context, run, [], Order("值班", "恢复备份"))
    with pytest.raises(NotAdopted):
        restored.accept(world.context, "值班")
    releasing.cancel(world.context, batch)
    repairing.repair(world.context, run, [], Order("值班", "恢复备份"))
    assert len(restored.accept(world.context, "值班")) == 3
    world.drain()
    with world.context.database.read() as session:
        assert broken_invariants(session) == {}
    assert asked_twice(world) == []
    assert count(world, select(Form.id).where(Form.outside)) == 6


def test_an_accept_that_died_before_its_mark_raises_nothing_twice(older, monkeypatch):
    older.clock.forward(hours=1)
    reconciled(older)
    with monkeypatch.context() as dying:
        dying.setattr(Journal, "accept", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restored.accept(older.context, "值班")
    assert len(restored.accept(older.context, "值班")) == 3
    assert count(older, select(Discrepancy.id).where(Discrepancy.kind == restored.KIND)) == 3


def test_the_journal_survives_a_line_that_a_crash_cut_short(database, tmp_path):
    journal = Journal(tmp_path / "j" / "sent")
    journal.note([Entry("2026-01-01T00:00:00+00:00", "A1", 1, "verify", "B1")])
    with journal.path.open("ab") as file:
        file.write(b"2026-01-01T00:00:01+00:00 A2 1 ver")
    with database.read() as session:
        assert [e.number for e in journal.unknown(session)] == ["A1"]
    journal.note([Entry("2026-01-01T00:00:02+00:00", "A3", 1, "void", "B1")])
    with database.read() as session:
        assert [e.number for e in journal.unknown(session)] == ["A1", "A3"]
        assert journal.behind(session)


def test_what_is_noted_is_on_the_disk_before_anything_goes_on(tmp_path, monkeypatch):
    """The file's bytes, and of a new one its name in the folder; and nothing is left open."""
    waited = []

    def fsync(descriptor):
        there = os.fstat(descriptor)
        waited.append("folder" if stat.S_ISDIR(there.st_mode) else there.st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal(tmp_path / "j" / "sent")
    opened, sizes = len([*Path("/proc/self/fd").iterdir()]), []
    for n in range(3):
        journal.note([Entry("2026-01-01T00:00:00+00:00", f"A{n}", 1, "verify", "B1", n)])
        sizes.append(journal.path.stat().st_size)
    assert waited == [sizes[0], "folder", *sizes[1:]]
    assert len([*Path("/proc/self/fd").iterdir()]) == opened


SENT = "sent"
ACCEPTED, BACK = "accepted", "a backup came back"


@pytest.mark.parametrize(
    ("happened", "claim", "older"),
    [
        ([], 0, False),
        ([SENT], 1, True),  # the database was at 1 by another message
        ([SENT, ACCEPTED], 1, False),
        ([SENT, ACCEPTED], 0, True),  # it came back once more, and nothing was sent since
        ([SENT, ACCEPTED, SENT], 1, True),
        ([SENT, ACCEPTED, SENT, ACCEPTED], 2, False),
        ([SENT, SENT, ACCEPTED], 1, True),
        ([BACK], 0, True),
        ([BACK, ACCEPTED], 0, False),
        ([BACK, ACCEPTED, BACK], 0, True),
        ([SENT, ACCEPTED, BACK], 1, True),
        ([SENT, BACK, ACCEPTED], 1, False),
    ],
)
def test_each_time_that_a_database_comes_back_is_noticed(
    database, tmp_path, happened, claim, older
):
    """Asked of one who has read along all the time, and of one who opens the file at the end."""
    now = datetime(2026, 11, 27, tzinfo=UTC)
    along, claims = Journal(tmp_path / "sent"), 0
    with database.write() as session:
        customs_link(session, now).claim_number = claim
    for step in happened:
        if step == SENT:
            claims += 1
            number = f"A{claims}"
            along.note([Entry(now.isoformat(), number, 1, "verify", CERTIFICATES[0], claims)])
        elif step == ACCEPTED:
            along.accept("值班", now)
        else:
            along.mark_restored(now)
        with database.read() as session:
            along.behind(session)
    with database.read() as session:
        assert along.behind(session) is older
        assert Journal(along.path).behind(session) is older


def test_a_database_that_knows_everything_is_not_restored(world):
    bring_in(world, certificates=[*SAMPLE_CERTIFICATES, *map(agent_certificate, range(1, 7))])
    confirm(world, upload(world, orders(CERTIFICATES)))
    world.drain()
    assert restored.unknown(world.context) == []
    assert world.context.journal.path.stat().st_mode & 0o077 == 0
