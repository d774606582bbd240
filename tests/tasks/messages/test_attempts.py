"""Attempts: how long the next one waits, and what an end that comes late changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from customs.gateway import InDoubt, NotTaken, Refused, Taken
from models.rules.retries import wait_after
from models.rules.states import AttemptKind, SubmissionState
from models.tables.submissions import Attempt, Submission
from tasks.messages import asking, preparing, sending, signing
from tasks.messages.attempts import finish_attempts
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload


@pytest.mark.parametrize(
    ("count", "seconds"),
    [(1, 4), (2, 8), (3, 16), (7, 256), (8, 512), (9, 600), (10, 600), (17, 600), (10**6, 600)],
)
def test_each_try_waits_twice_as_long_as_the_one_before_and_never_more_than_ten_minutes(
    count, seconds
):
    assert wait_after(count) == timedelta(seconds=seconds)


@pytest.fixture
def claimed(world):
    """A message that is being sent."""
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, "核销", "211014001")])
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    signing.sign(world.context)
    (one,) = sending._claim(world.context, 10)
    return one


def attempts(world):
    with world.context.database.read() as session:
        found = session.scalars(select(Attempt).order_by(Attempt.id))
        return [(a.kind.value, a.number, a.outcome) for a in found]


def end(world, kind, claimed, number, outcome):
    with world.context.database.write() as session:
        finish_attempts(session, kind, [(claimed.id, number, outcome)], world.clock())


def test_how_an_attempt_ended_is_written_once_and_of_that_attempt_alone(world, claimed):
    world.clock.forward(seconds=61)
    asking.ask(world.context)  # "not found", too soon to be believed
    begun = [("send", 1, None), ("ask", 1, "not_found")]
    assert attempts(world) == begun
    end(world, AttemptKind.SEND, claimed, 2, Taken("2" * 18))  # of an attempt that is none
    assert attempts(world) == begun
    end(world, AttemptKind.SEND, claimed, 1, InDoubt("no answer"))
    end(world, AttemptKind.SEND, claimed, 1, Refused("1002", "later"))
    assert attempts(world) == [("send", 1, "in_doubt"), ("ask", 1, "not_found")]


def test_what_was_asked_about_a_moment_ago_waits_until_it_is_due(world, claimed):
    world.clock.forward(seconds=61)
    assert asking.ask(world.context) == 1
    assert asking.ask(world.context) == 0
    world.clock.forward(seconds=4)
    assert asking.ask(world.context) == 1


def test_what_a_sender_that_died_had_begun_may_arrive_until_its_lease_is_over(world, claimed):
    """60 s of lease and 300 s until customs shows it: only then is "not found" believed."""
    states = []
    for seconds in (65, 340, 370):
        world.clock.ahead = timedelta(seconds=seconds)
        asking.ask(world.context, AGENT_HANDLED)
        with world.context.database.read() as session:
            states += session.scalars(select(Submission.state))
    assert states == [
        SubmissionState.IN_DOUBT,
        SubmissionState.IN_DOUBT,
        SubmissionState.SIGNED,
    ]


@pytest.mark.parametrize(("begun", "seconds"), [(True, 4), (False, 2)])
def test_what_certainly_did_not_arrive_waits_its_time_and_leaves_then(
    world, claimed, begun, seconds
):
    sending._record_sent(world.context, [(claimed, NotTaken("nobody there", begun=begun))])
    with world.context.database.read() as session:
        (message,) = session.scalars(select(Submission))
    assert (message.state, message.lease_until) == (SubmissionState.SIGNED, None)
    waits = message.next_attempt_at - world.clock()
    assert timedelta(seconds=seconds - 2) < waits <= timedelta(seconds=seconds)
    assert sending.send(world.context) == 0
    world.clock.forward(seconds=seconds)
    assert sending.send(world.context) == 1
