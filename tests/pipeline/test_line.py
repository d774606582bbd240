"""The line to customs: closed by a card that is not accepted, opened by one message that is taken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from config.names import Task
from models.card import seen_cards, trouble_of
from models.errors import CustomsAskedToWait
from models.links import line_of, open_line
from models.states import CardState, LineReason, LineState, SubmissionState
from models.submissions import Card, Submission
from tasks import asking, pipeline, sending, submission
from tests.factories import SENDER as OWNER
from tests.factories import agent_certificate, bring_in, confirm, issued, upload

MESSAGES = 60
CONNECTIONS = 4
"""Calls at once of a test's gateway: so many have begun before the first refusal is known."""

NOT_ACCEPTED = {"fault": "refuse_message", "times": 1000, "code": "1002", "text": "证书过期"}


@pytest.fixture
def signed(world):
    """A batch of 60 messages, signed, and a customs that does not accept the card."""
    certificates = [agent_certificate(n) for n in range(1, MESSAGES + 1)]
    bring_in(world, [issued(OWNER, "B", "211014001", 100)], certificates)
    batch = upload(world, [(c.number, "核销", "", 1) for c in certificates])
    confirm(world, batch)
    submission.prepare(world.context, batch)
    submission.sign(world.context)
    world.customs.play(NOT_ACCEPTED)
    return batch


def line(world):
    with world.context.database.read() as session:
        return line_of(session, world.clock())


def opened(world):
    """What a person says who has mended the cause, a moment after the line was closed."""
    world.clock.forward(seconds=3)
    with world.context.database.write() as session:
        return open_line(session, world.clock(), world.context.settings.zone)


def count(world, state):
    with world.context.database.read() as session:
        return session.scalar(select(func.count()).where(Submission.state == state))


def test_a_card_that_is_not_accepted_spends_what_had_begun_then_one_message_at_a_time(
    world, signed
):
    sending.send(world.context)
    spent = count(world, SubmissionState.REFUSED)
    assert 1 <= spent <= CONNECTIONS
    assert count(world, SubmissionState.SIGNED) == MESSAGES - spent
    found = line(world)
    assert (found.state, found.reason, found.detail) == (LineState.CLOSED, LineReason.CARD, "1002")
    for pause in (10, 20, 40, 60, 60):
        world.clock.forward(minutes=pause - 1)
        assert sending.send(world.context) == 0
        world.clock.forward(minutes=1.1)
        assert line(world).state is LineState.PROBING
        assert sending.send(world.context) == 1
        spent += 1
        assert count(world, SubmissionState.REFUSED) == spent
    world.assert_sound()


def test_one_message_that_is_taken_lets_all_the_others_leave(world, signed):
    sending.send(world.context)
    spent = count(world, SubmissionState.REFUSED)
    world.customs.play()
    assert opened(world).state is LineState.PROBING
    assert opened(world).state is LineState.PROBING  # said twice, it is the same
    assert sending.send(world.context) == MESSAGES - spent
    assert line(world).state is LineState.OPEN
    world.drain()
    assert len(world.customs.effects()) == MESSAGES - spent
    world.assert_sound()


def test_while_the_probe_is_under_way_nothing_else_leaves(world, signed):
    sending.send(world.context)
    opened(world)
    assert len(sending._claim(world.context, 100)) == 1  # a sender that dies here
    assert sending._claim(world.context, 100) == []
    world.clock.forward(seconds=61)
    asking.ask(world.context)
    assert sending.send(world.context) == 0
    world.customs.play()
    world.clock.forward(seconds=400)
    asking.ask(world.context)  # customs does not know it: it is due again
    world.clock.forward(seconds=60)
    assert sending.send(world.context) == MESSAGES - count(world, SubmissionState.REFUSED)
    world.drain()
    world.assert_sound()


def test_a_probe_whose_answer_was_lost_opens_the_line_when_customs_has_it(world, signed):
    sending.send(world.context)
    opened(world)
    world.customs.play({"fault": "answer_lost", "times": 1})
    assert sending.send(world.context) == 1
    world.clock.forward(seconds=5)
    assert sending.send(world.context) == 0
    asking.ask(world.context)
    assert sending.send(world.context) > 1
    assert line(world).state is LineState.OPEN
    world.drain()
    world.assert_sound()


def test_a_probe_refused_for_another_reason_says_nothing_of_the_card(world, signed):
    sending.send(world.context)
    opened(world)
    world.customs.play({**NOT_ACCEPTED, "code": "0002", "times": 1}, {**NOT_ACCEPTED, "times": 1})
    before = count(world, SubmissionState.REFUSED)
    sending.send(world.context)
    assert count(world, SubmissionState.REFUSED) == before + 2
    assert line(world).state is LineState.CLOSED


def test_customs_own_pause_is_not_cut_short(world, signed):
    world.customs.play({"fault": "busy", "times": 1, "seconds": 300})
    sending.send(world.context)
    assert line(world).reason is LineReason.BUSY
    with pytest.raises(CustomsAskedToWait) as said:
        opened(world)
    assert str(line(world).until.astimezone(world.context.settings.zone).minute) in str(said.value)
    world.clock.forward(seconds=301)
    world.drain()
    assert line(world).state is LineState.OPEN


class TestTheCardWithoutAnOrder:
    """It is examined when it is opened and each hour, so that a fault is known before the order comes."""

    def due(self, world):
        with world.context.database.read() as session:
            return Task.SIGN in [task for task, _ in pipeline.due(session, world.clock())]

    def seen(self, world):
        with world.context.database.read() as session:
            (card,) = seen_cards(session)
            return card

    def test_a_card_that_expires_is_noticed_within_the_hour(self, world):
        submission.sign(world.context)
        assert self.seen(world).state is CardState.READY
        assert not self.due(world)
        world.clock.forward(days=3651)  # the key file's certificate ends
        with world.context.database.write() as session:  # and it was in use until now
            session.merge(Card(label=self.seen(world).label, seen_at=world.clock()))
        assert self.due(world)
        submission.sign(world.context)
        card = self.seen(world)
        assert (card.state, card.code) == (CardState.UNFIT, "card_expired")
        assert "到期" in str(trouble_of(card))

    def test_nothing_is_examined_twice_in_an_hour(self, world):
        submission.sign(world.context)
        before = self.seen(world).seen_at
        world.clock.forward(minutes=59)
        assert not self.due(world)
        assert submission.sign(world.context) == 0
        assert self.seen(world).seen_at == before
        world.clock.forward(minutes=2)
        assert self.due(world)

    def test_what_waits_is_signed_when_the_card_is_fit_again(self, world):
        bring_in(world, [issued(OWNER, "B", "211014001", 10)], [agent_certificate(1)])
        batch = upload(world, [(agent_certificate(1).number, "核销", "", 1)])
        confirm(world, batch)
        submission.prepare(world.context, batch)
        ahead = timedelta(days=3651)
        world.clock.ahead += ahead
        assert submission.sign(world.context) == 0
        assert count(world, SubmissionState.PREPARED) == 1
        world.clock.ahead -= ahead - timedelta(seconds=30)
        with world.context.database.write() as session:
            session.execute(update(Submission).values(next_attempt_at=world.clock()))
        assert submission.sign(world.context) == 1
        assert self.seen(world).state is CardState.READY
