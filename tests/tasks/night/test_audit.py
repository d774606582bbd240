"""A tampered history is found, and the finding says which event of which form."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text, update

from models.reads.invariants import broken_invariants
from models.rules.calendar import business_date
from models.rules.causes import Cause
from models.rules.chain import GENESIS, EventFacts, Tamper, event_hash
from models.rules.states import FormState
from models.tables.forms import Form
from models.writes.holds import hold_forms
from models.writes.moves import FormMove, move_forms
from tasks.night import audit, reconciliation
from tasks.stock import custody
from tests.support.factories import AGENT_HANDLED, SENDER, bring_in, issued

SERIAL = "211014003"


@pytest.fixture
def history(world):
    """A form with five events, among others; anchored."""
    bring_in(world, [issued(SENDER, "B", "211014001", 50)])
    for n in range(2):
        custody.hold(world.context, [SERIAL, "211014009"], None, f"潮湿 {n}")
        world.clock.forward(minutes=1)
        custody.release(world.context, [SERIAL, "211014009"], None, f"晾干 {n}")
    audit.take_anchor(world.context, business_date(world.clock()))
    return world


def findings(world, **options):
    return [
        (f.tamper, f.serial, f.number)
        for f in audit.verify(world.context, audit.Verified(), every_anchor=True, **options)
    ]


def sql(world, statement, **values):
    with world.context.database.write() as session:
        return session.execute(text(statement), values)


def events(world):
    """(id, number) of the form's events."""
    with world.context.database.read() as session:
        return session.execute(
            text(
                "SELECT e.id, e.number FROM form_event e JOIN form f ON f.id = e.form_id"
                " WHERE f.serial = :s ORDER BY e.id"
            ),
            {"s": SERIAL},
        ).all()


COPIED = (
    "form_id, number, from_state, to_state, at, cause, certificate, batch_id, submission_id,"
    " inbox_id, reason, hash"
)


def test_an_untouched_history_is_whole(history):
    counted = audit.Verified()
    assert list(audit.verify(history.context, counted, every_anchor=False)) == []
    assert (counted.forms, counted.events, counted.anchors) == (50, 58, 1)


def test_an_edited_event_is_found(history):
    sql(history, "UPDATE form_event SET reason = '无事' WHERE id = :i", i=events(history)[2].id)
    assert findings(history) == [(Tamper.EDITED, SERIAL, 3)]


def test_an_edited_and_rehashed_event_is_found(history):
    event = events(history)[2]
    sql(
        history,
        "UPDATE form_event SET reason = 'x', hash = :h WHERE id = :i",
        h="0" * 64,
        i=event.id,
    )
    assert (Tamper.EDITED, SERIAL, 3) in findings(history)


def test_a_deleted_event_is_found(history):
    sql(history, "DELETE FROM form_event WHERE id = :i", i=events(history)[2].id)
    assert findings(history) == [(Tamper.REMOVED, SERIAL, 3)]


def test_a_deleted_tail_is_found(history):
    sql(history, "DELETE FROM form_event WHERE id >= :i", i=events(history)[3].id)
    found = [f for f in findings(history) if f[1] == SERIAL]
    assert found == [(Tamper.CUT, SERIAL, 4), (Tamper.CUT, SERIAL, 5)]


def test_a_history_that_is_gone_is_found(history):
    ids = [e.id for e in events(history)]
    sql(history, f"DELETE FROM form_event WHERE id IN ({', '.join(map(str, ids))})")
    assert {f[0] for f in findings(history) if f[1] == SERIAL} == {Tamper.CUT}


def test_reordered_events_are_found(history):
    second, third = events(history)[1].id, events(history)[2].id
    for a, b in ((second, -1), (third, second), (-1, third)):
        sql(history, "UPDATE form_event SET id = :b WHERE id = :a", a=a, b=b)
    assert findings(history) == [(Tamper.REORDERED, SERIAL, 2)]


def test_an_inserted_event_is_found(history):
    sql(
        history,
        f"INSERT INTO form_event ({COPIED}) SELECT {COPIED} FROM form_event WHERE id = :i",
        i=events(history)[2].id,
    )
    assert findings(history) == [(Tamper.INSERTED, SERIAL, 3)]


def test_an_event_added_at_the_end_is_found(history):
    last = events(history)[-1].id
    sql(
        history,
        f"INSERT INTO form_event ({COPIED}) SELECT {COPIED.replace('number', 'number + 1', 1)}"
        " FROM form_event WHERE id = :i",
        i=last,
    )
    assert findings(history) == [(Tamper.INSERTED, SERIAL, 6)]


def rewrite_from(world, number):
    """Forge the reasons from an event on and make every hash right again, the form's too."""
    with world.context.database.write() as session:
        rows = session.execute(
            text(
                "SELECT e.*, f.serial, f.form_type, f.id AS form FROM form_event e"
                " JOIN form f ON f.id = e.form_id WHERE f.serial = :s ORDER BY e.id"
            ).columns(**_typed()),
            {"s": SERIAL},
        ).all()
        before = GENESIS
        for e in rows:
            reason = "伪造" if e.number >= number else e.reason
            facts = EventFacts(
                e.form_type, e.serial, e.number, e.from_state, e.to_state, e.at, e.cause,
                e.certificate, e.batch_id, e.submission_id, e.inbox_id, reason,
            )  # fmt: skip
            before = event_hash(before, facts)
            session.execute(
                text("UPDATE form_event SET reason = :r, hash = :h WHERE id = :i"),
                {"r": reason, "h": before, "i": e.id},
            )
        session.execute(
            text("UPDATE form SET chain = :h WHERE id = :i"), {"h": before, "i": rows[0].form}
        )


def _typed():
    from models.tables.base import UTCDateTime

    return {"at": UTCDateTime()}


def test_a_chain_rewritten_from_the_middle_differs_from_the_anchor(history):
    rewrite_from(history, 3)
    assert findings(history) == [(Tamper.ANCHOR, "211014001..211014020", None)]


def test_a_tail_cut_with_the_forms_memory_of_it_differs_from_the_anchor(history):
    fourth = events(history)[3]
    sql(history, "DELETE FROM form_event WHERE id >= :i AND form_id = (SELECT id FROM form"
        " WHERE serial = :s)", i=fourth.id, s=SERIAL)  # fmt: skip
    sql(
        history,
        "UPDATE form SET event_count = 3, chain = (SELECT hash FROM form_event WHERE number = 3"
        " AND form_id = form.id) WHERE serial = :s",
        s=SERIAL,
    )
    assert findings(history) == [(Tamper.ANCHOR, "211014001..211014020", None)]


@pytest.fixture
def two_nights(history):
    """Two reconciliations of two nights, each with its anchor noted in the run."""
    for _ in range(2):
        run = reconciliation.open_run(history.context)
        reconciliation.reconcile(history.context, run, 60)
        history.clock.forward(days=1)
    return history, audit.anchor_files(history.context.settings.anchors)


def test_an_anchor_that_is_gone_is_missed(two_nights):
    world, files = two_nights
    files[-1].unlink()
    assert Tamper.ANCHOR_FILE in {tamper for tamper, *_ in findings(world)}


def test_an_anchor_that_was_changed_is_found(two_nights):
    world, files = two_nights
    files[-1].write_text(files[-1].read_text() + "1 0\n")
    assert Tamper.ANCHOR_FILE in {tamper for tamper, *_ in findings(world)}


def test_an_anchor_exchanged_for_another_breaks_the_line_of_anchors(two_nights):
    world, files = two_nights
    sql(world, "UPDATE reconciliation SET anchor = NULL")
    text_of = files[0].read_text()
    files[0].write_text(text_of.replace(text_of.split()[-1], "0" * 64))
    assert findings(world)


def test_forms_that_are_gone_altogether_are_missed_by_the_anchor(two_nights):
    world, _ = two_nights
    for table in ("form_event", "receipt_line", "item"):
        sql(world, f"DELETE FROM {table}")
    sql(world, "DELETE FROM form")
    assert Tamper.ANCHOR in {tamper for tamper, *_ in findings(world)}


def test_what_happens_after_an_anchor_does_not_disturb_it(history):
    custody.hold(history.context, [SERIAL], None, "再次")
    bring_in(history, [issued(SENDER, "B", "211015001", 30)])
    assert findings(history) == []


def test_a_serial_that_was_exchanged_is_found(history):
    sql(history, "UPDATE form SET serial = '211019999' WHERE serial = :s", s=SERIAL)
    assert {(f[0], f[1]) for f in findings(history)} == {(Tamper.EDITED, "211019999")}


@pytest.mark.parametrize(
    ("change", "says", "invariant"),
    [
        ({"certificate": "B201026902331601"}, "certificate", "3b"),
        ({"hold": "quietly"}, "held", "9f"),
    ],
)
def test_an_edited_certificate_of_an_outside_form_and_an_edited_hold_are_seen(
    world, change, says, invariant
):
    """Neither was in any chain: both passed the audit and every invariant."""
    bring_in(world)
    with world.context.database.write() as session:
        form = session.scalars(
            select(Form).where(Form.serial == "211014001", Form.form_type == "B")
        ).one()
        move = FormMove(form.id, AGENT_HANDLED, reason="portal")
        move_forms(
            session, [move], FormState.ISSUED, FormState.VERIFIED, world.clock(), Cause.OUTSIDE
        )
    assert found(world) == []
    with world.context.database.write() as session:
        session.execute(update(Form).where(Form.id == form.id).values(**change))
    (finding,) = found(world)
    assert (finding.tamper, finding.serial) == (Tamper.FORM, "211014001")
    assert says in finding.detail
    with world.context.database.read() as session:
        assert [k.split()[0] for k in broken_invariants(session)] == [invariant]


def test_a_removed_hold_is_seen(world):
    bring_in(world)
    with world.context.database.write() as session:
        form = session.scalars(
            select(Form).where(Form.serial == "211014001", Form.form_type == "B")
        ).one()
        hold_forms(session, [form.id], world.clock(), Cause.HOLD, "look at it")
    assert found(world) == []
    with world.context.database.write() as session:
        session.execute(update(Form).where(Form.id == form.id).values(hold=None))
    assert [f.tamper for f in found(world)] == [Tamper.FORM]


def found(world):
    return list(audit.verify(world.context, audit.Verified(), every_anchor=True))
