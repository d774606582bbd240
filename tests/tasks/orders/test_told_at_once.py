"""A command tells the truth about what will happen; what a person or the clock stops does not leave."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from models.reads.health import look
from models.reads.line import line_of
from models.reads.pauses import pauses_of
from models.rules.errors import (
    BatchGoesOn,
    BlankformsError,
    ConfirmationUnknown,
    DatabaseUnreachable,
    LineClosed,
    LinePaused,
    PlanMoved,
)
from models.rules.states import (
    BatchState,
    FormState,
    LineReason,
    LineState,
    PauseScope,
    SubmissionState,
)
from models.tables.batches import Batch
from models.tables.certificates import Certificate
from models.tables.forms import Form
from models.tables.submissions import Attempt, Submission
from models.writes.holds import lock_stocks_of
from models.writes.line import open_line
from net import clock
from tasks import line, pipeline
from tasks.messages import asking, preparing, sending, signing
from tasks.orders import confirming, releasing, reserving
from tests.support.factories import (
    AGENT_HANDLED,
    EXPORTER,
    SENDER,
    agent_certificate,
    bring_in,
    confirm,
    upload,
)
from tests.support.looking import codes

VERIFY = "核销"
ONE = "211014001"


def signed(world, serial=ONE, certificate=AGENT_HANDLED, name="a.csv"):
    batch_id = upload(world, [(certificate, VERIFY, serial)], name=name)
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    signing.sign(world.context)
    return batch_id


def batch_state(world, batch_id):
    with world.context.database.read() as session:
        return session.get_one(Batch, batch_id).state


def message_state(world, batch_id):
    with world.context.database.read() as session:
        return session.scalars(
            select(Submission.state).where(Submission.batch_id == batch_id)
        ).one()


def at_customs(world):
    return world.customs.simulated.ledger.read("SELECT COUNT(*) AS n FROM message")[0]["n"]


def rung(world):
    with world.context.database.read() as session:
        return {task.value for task, _ in pipeline.due(session, world.clock())}


# -- the truth about what will happen -----------------------------------------------------------


def lost(*_):
    raise DatabaseUnreachable(detail="server closed the connection")


def test_a_database_lost_after_the_yes_says_that_the_batch_goes_on(world, monkeypatch):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 2)])
    with monkeypatch.context() as patch:
        patch.setattr(reserving, "_reserve", lost)
        with pytest.raises(BatchGoesOn) as said:
            confirm(world, batch_id)
    assert str(batch_id) in str(said.value)
    assert "请勿重复下单" in str(said.value)
    world.drain()
    assert batch_state(world, batch_id) is BatchState.FINISHED
    world.assert_sound()


def test_a_database_lost_while_the_yes_is_kept_says_that_nobody_knows(world, monkeypatch):
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 2)])
    monkeypatch.setattr(confirming, "_confirm", lost)
    with pytest.raises(ConfirmationUnknown) as said:
        confirm(world, batch_id)
    assert f"batch show {batch_id}" in str(said.value)


def test_a_plan_that_moves_under_the_reservation_puts_the_batch_back_to_checked(world, monkeypatch):
    """Told "the plan has moved", the batch was carried out by the sweep with other serials."""
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, VERIFY, "", 2)])
    monkeypatch.setattr(reserving, "move_forms", lambda *_: set())
    with pytest.raises(PlanMoved):
        confirm(world, batch_id)
    monkeypatch.undo()
    assert batch_state(world, batch_id) is BatchState.CHECKED
    world.drain()
    assert batch_state(world, batch_id) is BatchState.CHECKED
    assert world.customs.effects() == {}
    confirm(world, batch_id)
    world.drain()
    assert batch_state(world, batch_id) is BatchState.FINISHED


def test_an_expired_batch_of_which_nothing_left_was_never_submitted(world):
    bring_in(world)
    rows = [(AGENT_HANDLED, VERIFY, ONE)]
    batch_id = upload(world, rows)
    confirm(world, batch_id)
    with world.context.database.write() as session:
        session.execute(update(Batch).values(expires_at=world.clock()))
    world.clock.forward(seconds=1)
    releasing.expire(world.context, batch_id)
    assert batch_state(world, batch_id) is BatchState.FINISHED
    again = upload(world, rows)
    confirm(world, again)
    world.drain()
    assert batch_state(world, again) is BatchState.FINISHED
    world.assert_sound()


def test_an_expired_batch_of_which_something_left_was_submitted(world):
    bring_in(world)
    batch_id = signed(world)
    world.customs.play({"fault": "receipt_never"})
    sending.send(world.context)
    world.clock.forward(days=400)
    releasing.expire(world.context, batch_id)
    with world.context.database.read() as session:
        assert session.get_one(Batch, batch_id).confirmed_content is not None


# -- what does not leave ------------------------------------------------------------------------


def test_a_batch_cancelled_after_the_clock_ran_back_sends_nothing(world):
    bring_in(world)
    world.customs.play({"fault": "late", "seconds": 10**6})
    batch_id = signed(world)
    sending.send(world.context)
    assert message_state(world, batch_id) is SubmissionState.IN_DOUBT
    world.clock.forward(hours=-3)  # before the confirmation
    assert releasing.cancel(world.context, batch_id).at_customs == 1
    with world.context.database.write() as session:
        session.execute(update(Submission).values(next_attempt_at=world.clock()))
        session.execute(
            update(Attempt).values(
                started_at=world.clock() - timedelta(hours=1),
                deadline_at=world.clock() - timedelta(hours=1),
                finished_at=world.clock() - timedelta(hours=1),
            )
        )
    asking.ask(world.context)
    assert message_state(world, batch_id) is SubmissionState.SIGNED, "certainly not there"
    assert sending.send(world.context) == 0
    assert "expire" in " ".join(rung(world))
    releasing.expire(world.context, batch_id)
    assert batch_state(world, batch_id) is BatchState.CANCELLED


def test_no_send_begins_after_its_time_though_the_machine_slept(world, monkeypatch):
    """The monotonic clock stands still in suspend, and the lease in the database does not."""
    bring_in(world)
    batch_id = signed(world)
    real = clock.elapsed
    asked = []

    def slept():
        asked.append(1)
        return real() + (0 if len(asked) == 1 else 3600)

    monkeypatch.setattr("tasks.messages.sending.elapsed", slept)
    monkeypatch.setattr("customs.http.elapsed", slept)
    sending.send(world.context)
    assert at_customs(world) == 0
    assert message_state(world, batch_id) is SubmissionState.SIGNED


@pytest.mark.parametrize(
    "change", [{"status": "revoked"}, {"agent": EXPORTER}, {"exporter": SENDER}]
)
def test_a_certificate_that_changed_since_the_plan_is_not_sent(world, change):
    bring_in(world)
    batch_id = signed(world)
    with world.context.database.write() as session:
        session.execute(
            update(Certificate).where(Certificate.number == AGENT_HANDLED).values(**change)
        )
    sending.send(world.context)
    world.drain()
    assert at_customs(world) == 0
    with world.context.database.read() as session:
        form = session.scalars(select(Form).where(Form.serial == ONE, Form.form_type == "B")).one()
    assert form.state is FormState.ISSUED
    assert batch_state(world, batch_id) is BatchState.FINISHED
    assert codes(world, batch_id) == {2: ["certificate_changed"]}
    with world.context.database.read() as session:  # nothing has left: it may be ordered again
        assert session.get_one(Batch, batch_id).confirmed_content is None
    world.assert_sound()


@pytest.mark.parametrize("scope", list(PauseScope))
def test_a_person_stops_what_has_not_left_and_lets_it_go_on(world, scope):
    other = agent_certificate(1)
    bring_in(world, certificates=[other, *_with_another_exporter()])
    stopped = signed(world, ONE, certificate=_with_another_exporter()[0].number)
    free = signed(world, "211014002", certificate=other.number, name="b.csv")
    value = {PauseScope.ALL: "", PauseScope.PRINCIPAL: SENDER, PauseScope.BATCH: str(stopped)}
    assert line.pause(world.context, scope, value[scope], "wang", "stop it")
    assert not line.pause(world.context, scope, value[scope], "li", "again")
    sending.send(world.context)
    assert message_state(world, stopped) is SubmissionState.SIGNED
    left = SubmissionState.SIGNED if scope is PauseScope.ALL else SubmissionState.TAKEN
    assert message_state(world, free) is left
    assert "blankforms.send" not in rung(world), "what is paused is not due"
    (said,) = line.paused(world.context)
    assert (said["scope"], said["by"], said["reason"]) == (scope.value, "wang", "stop it")
    with world.context.database.read() as session:
        of_it = [p.value for p in pauses_of(session, stopped)]
        assert of_it == ([] if scope is PauseScope.ALL else [value[scope]])
        assert pauses_of(session, free) == []
    if scope is PauseScope.ALL:
        with world.context.database.write() as session:
            assert line_of(session, world.clock()).reason is LineReason.PAUSED
            with pytest.raises(LinePaused):
                open_line(session, world.clock(), world.context.settings.zone)
    assert line.resume(world.context, scope, value[scope], "wang")
    assert not line.resume(world.context, scope, value[scope], "wang")
    world.drain()
    assert batch_state(world, stopped) is BatchState.FINISHED
    with world.context.database.read() as session:
        assert line_of(session, world.clock()).state is LineState.OPEN
    world.assert_sound()


def test_of_a_long_reason_to_pause_as_much_is_kept_as_there_is_room_for(world):
    assert line.pause(world.context, PauseScope.ALL, "", "w" * 80, "x" * 250)
    (said,) = line.paused(world.context)
    assert (said["by"], said["reason"]) == ("w" * 64, "x" * 200)


def _with_another_exporter():
    return [replace(agent_certificate(2), exporter=SENDER, agent=SENDER)]


def test_what_is_paused_is_not_signed(world):
    bring_in(world)
    line.pause(world.context, PauseScope.ALL, "", "wang", "stop it")
    batch_id = signed(world)
    assert message_state(world, batch_id) is SubmissionState.PREPARED
    line.resume(world.context, PauseScope.ALL, "", "wang")
    world.drain()
    world.assert_sound()


# -- repairs and reservations -------------------------------------------------------------------


def test_a_repair_waits_for_the_reservation_that_has_the_stock(world):
    """It took a form between the plan and its reservation, on PostgreSQL, and the plan "had moved"."""
    bring_in(world)
    with world.context.database.write() as session:
        if session.get_bind().dialect.name != "postgresql":
            pytest.skip("SQLite has one writer")
        form = session.scalars(select(Form).where(Form.serial == ONE, Form.form_type == "B")).one()
        lock_stocks_of(session, [form.id])
        with world.context.database.write() as other:
            other.execute(text("SET LOCAL lock_timeout = '300ms'"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                lock_stocks_of(other, [form.id])
            other.rollback()


def test_a_cancelled_batch_of_which_everything_is_at_customs_is_not_rung_for(world):
    """Its reservation was "expired" in each sweep, for ever, with nothing to give back."""
    bring_in(world)
    world.customs.play({"fault": "receipt_never"})
    batch_id = signed(world)
    sending.send(world.context)
    releasing.cancel(world.context, batch_id)
    world.clock.forward(days=400)
    assert "orders.releasing.expire" not in rung(world)


def test_what_customs_does_not_make_clear_for_an_hour_is_shown_to_a_person(world):
    bring_in(world)
    world.customs.play({"fault": "late", "seconds": 10**6})
    signed(world)
    sending.send(world.context)
    with world.context.database.read() as session:
        assert look(session, world.clock()).unclear == 0
        assert look(session, world.clock() + timedelta(minutes=61)).unclear == 1


def errors():
    kinds = [BlankformsError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        yield kind


def test_every_error_crosses_from_a_pool_child_as_what_it_is():
    for kind in errors():
        made = kind("code_x", detail="d") if kind is LineClosed else kind(detail="d")
        back = pickle.loads(pickle.dumps(made))
        assert (type(back), back.code, back.values) == (kind, made.code, {"detail": "d"})
