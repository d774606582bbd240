"""The line to customs: closed by a card that is not accepted, opened by one message that is taken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from config.names import Task
from customs.gateway import NotTaken
from customs.http import HttpGateway
from customs.profile.bcm1 import Bcm1
from customs.signing.keyfile import KeyFileSigner, ensure_key_file
from models.reads.cards import seen_cards, trouble_of
from models.reads.line import line_of, room_to_sign
from models.rules.card_errors import CardExpired
from models.rules.errors import CustomsAskedToWait
from models.rules.states import (
    CardState,
    FormState,
    LineReason,
    LineState,
    PauseScope,
    SubmissionState,
)
from models.tables.card import Card
from models.tables.forms import Form
from models.tables.submissions import Submission
from models.writes.cards import note_card
from models.writes.line import close_for_card, close_link, customs_link, open_line, room_on_line
from tasks import line as line_tasks
from tasks import pipeline
from tasks.messages import asking, preparing, sending, signing
from tests.support.factories import SENDER as OWNER
from tests.support.factories import agent_certificate, bring_in, confirm, issued, upload

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
    preparing.prepare(world.context, batch)
    signing.sign(world.context)
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


def forms(world, state):
    with world.context.database.read() as session:
        return session.scalar(select(func.count()).select_from(Form).where(Form.state == state))


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


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ({"fault": "too_many", "seconds": 30}, 0),
        ({"fault": "busy", "seconds": 30}, 0),
        ({"fault": "refuse_message", "code": "1002"}, 1),
    ],
)
def test_behind_the_answer_that_closes_the_line_nothing_of_the_same_claim_leaves(
    world, signed, answer, refused
):
    """One call at a time: the second of a claim begins when the first has its answer."""
    world.context.__dict__["gateway"] = HttpGateway(
        Bcm1(), world.customs.url, "simulator", 1, world.context.settings.send_deadline_seconds
    )
    world.customs.play({**answer, "times": 1})  # whatever came after it would be taken
    world.rings.clear()
    sending.send(world.context)
    assert (Task.SEND, ()) not in world.rings, "there is nothing to go on with"
    assert world.customs.messages() == []
    assert count(world, SubmissionState.REFUSED) == refused
    assert count(world, SubmissionState.SIGNED) == MESSAGES - refused
    assert forms(world, FormState.RESERVED) == MESSAGES - refused
    assert forms(world, FormState.VERIFY_SUBMITTED) == 0
    assert sending.send(world.context) == 0
    assert line(world).state is LineState.CLOSED
    world.assert_sound()
    world.clock.forward(minutes=11)
    world.drain()
    assert len(world.customs.effects()) == MESSAGES - refused


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
    """It is examined when it is opened and each minute, so that a fault is known before the order comes."""

    def due(self, world):
        with world.context.database.read() as session:
            return Task.SIGN in [task for task, _ in pipeline.due(session, world.clock())]

    def seen(self, world):
        with world.context.database.read() as session:
            (card,) = seen_cards(session)
            return card

    def test_a_card_that_expires_is_noticed_within_the_minute(self, world):
        signing.sign(world.context)
        assert self.seen(world).state is CardState.READY
        assert not self.due(world)
        world.clock.forward(days=3651)  # the key file's certificate ends
        with world.context.database.write() as session:  # and it was in use until now
            session.merge(Card(label=self.seen(world).label, seen_at=world.clock()))
        assert self.due(world)
        signing.sign(world.context)
        card = self.seen(world)
        assert (card.state, card.code) == (CardState.UNFIT, "card_expired")
        assert "到期" in str(trouble_of(card))

    def test_nothing_is_examined_twice_in_a_minute(self, world):
        signing.sign(world.context)
        before = self.seen(world).seen_at
        world.clock.forward(seconds=58)
        assert not self.due(world)
        assert signing.sign(world.context) == 0
        assert self.seen(world).seen_at == before
        world.clock.forward(seconds=3)
        assert self.due(world)

    def test_nobody_is_rung_for_a_card_that_was_not_seen_for_a_day(self, world):
        signing.sign(world.context)
        world.clock.forward(hours=23)
        assert self.due(world)
        world.clock.forward(hours=2)
        assert not self.due(world)

    def test_what_waits_is_signed_when_the_card_is_fit_again(self, world):
        bring_in(world, [issued(OWNER, "B", "211014001", 10)], [agent_certificate(1)])
        batch = upload(world, [(agent_certificate(1).number, "核销", "", 1)])
        confirm(world, batch)
        preparing.prepare(world.context, batch)
        ahead = timedelta(days=3651)
        world.clock.ahead += ahead
        assert signing.sign(world.context) == 0
        assert count(world, SubmissionState.PREPARED) == 1
        world.clock.ahead -= ahead - timedelta(seconds=30)
        with world.context.database.write() as session:
            session.execute(update(Submission).values(next_attempt_at=world.clock()))
        assert signing.sign(world.context) == 1
        assert self.seen(world).state is CardState.READY


class TestAfterTheCardWasExchanged:
    @pytest.fixture
    def exchanged(self, world, signed, tmp_path):
        """Customs takes the new card alone; the old one had signed everything that waits."""
        sending.send(world.context)
        folder = tmp_path / "new-card"
        ensure_key_file(folder, OWNER)
        new = KeyFileSigner(folder, OWNER)
        world.customs.simulated.settings.trusted[:] = [new.certificate_der()]
        world.customs.play()
        world.context.__dict__["signer"] = new
        return count(world, SubmissionState.REFUSED)

    def test_what_the_old_one_signed_is_made_anew_and_no_order_is_lost(self, world, exchanged):
        world.clock.forward(seconds=3)
        line_tasks.open_again(world.context)
        assert (Task.SIGN, ()) in world.rings
        signing.sign(world.context)  # as it was rung for
        assert count(world, SubmissionState.SIGNED) == 0
        world.drain()
        assert count(world, SubmissionState.REFUSED) == exchanged
        assert len(world.customs.effects()) == MESSAGES - exchanged
        assert line(world).state is LineState.OPEN
        world.assert_sound()

    def next_order(self, world):
        """One more message that waits for the card."""
        one = agent_certificate(99)
        bring_in(world, [issued(OWNER, "B", "211015001", 3)], [one])
        batch = upload(world, [(one.number, "核销", "", 1)], name="next.csv")
        confirm(world, batch)
        preparing.prepare(world.context, batch)

    def test_what_waited_for_the_card_is_the_probe_of_the_new_one(self, world, exchanged):
        self.next_order(world)
        world.clock.forward(seconds=3)
        line_tasks.open_again(world.context)
        signing.sign(world.context)
        assert count(world, SubmissionState.SIGNED) == 1

    def test_nothing_is_signed_ahead_with_a_card_that_customs_refuses(self, world, signed):
        sending.send(world.context)
        self.next_order(world)
        assert signing.sign(world.context) == 0
        assert count(world, SubmissionState.PREPARED) == 1


def test_a_probe_whose_answer_never_becomes_clear_is_given_up_by_a_person(world, signed):
    sending.send(world.context)
    opened(world)
    assert len(sending._claim(world.context, 100)) == 1
    world.clock.forward(minutes=5)
    with world.context.database.write() as session:
        session.execute(
            update(Submission)
            .where(Submission.state == SubmissionState.SENDING)
            .values(state=SubmissionState.IN_DOUBT)
        )
    assert sending.send(world.context) == 0
    opened(world)
    world.customs.play()
    assert sending.send(world.context) > 1


def test_what_a_person_has_stopped_is_no_probe(world, signed):
    """The others waited for it: nothing was signed while it was there, and nothing could leave."""
    sending.send(world.context)
    assert line(world).state is LineState.CLOSED
    with world.context.database.read() as session:
        stopped = session.scalars(
            select(Submission.batch_id).where(Submission.state == SubmissionState.SIGNED).limit(1)
        ).one()
        assert room_to_sign(session, world.clock()) == 0
    line_tasks.pause(world.context, PauseScope.BATCH, str(stopped), "wang", "look")
    with world.context.database.read() as session:
        assert room_to_sign(session, world.clock()) == 1


def test_of_two_pauses_the_one_that_ends_later_holds(world):
    def closes(seconds, reason):
        with world.context.database.write() as session:
            close_link(session, world.clock(), timedelta(seconds=seconds), reason)
        return line(world)

    assert closes(600, LineReason.CARD).reason is LineReason.CARD
    assert closes(1, LineReason.BUSY).reason is LineReason.CARD
    assert closes(3000, LineReason.BUSY).reason is LineReason.BUSY
    assert closes(60, LineReason.TOKEN).reason is LineReason.BUSY


def test_refusals_that_come_one_by_one_from_one_window_are_one_refusal(world):
    for number in range(4):
        with world.context.database.write() as session:
            close_for_card(session, world.clock(), "1002", [number])
    assert line(world).until - world.clock() < timedelta(minutes=11)


def test_another_senders_refusal_is_seen_by_one_that_waited_for_the_line(world, request):
    if "sqlite" in request.node.name:
        pytest.skip("one writer at a time")
    with world.context.database.write() as session:
        close_for_card(session, world.clock(), "1002", [])
        customs_link(session, world.clock()).closed_until = None
    with world.context.database.write() as waiting:
        link = customs_link(waiting, world.clock())
        with world.context.database.write() as other:
            close_for_card(other, world.clock(), "1002", [])
        assert room_on_line(waiting, link, world.clock()) == 0


def test_what_was_claimed_before_the_line_was_closed_does_not_begin_after_it(world, signed):
    before = world.context.gateway.closings()
    claimed = sending._claim(world.context, 2)
    first, second = claimed
    world.context.gateway.start_send("a", first.message, float("inf"), before)
    ((_, refused),) = world.context.gateway.completed(1)
    assert refused.code == "1002"
    world.context.gateway.start_send("b", second.message, float("inf"), before)
    ((_, ended),) = world.context.gateway.completed(1)
    assert isinstance(ended, NotTaken)
    assert not ended.begun


def test_what_cannot_be_noted_does_not_leave_and_the_line_says_so(world, signed):
    folder = world.context.journal.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sent").mkdir()  # a folder where the file should be: nothing can be written
    assert sending.send(world.context) == 0
    assert line(world).reason is LineReason.JOURNAL
    assert count(world, SubmissionState.SIGNED) == MESSAGES
    (folder / "sent").rmdir()
    world.customs.play()
    world.clock.forward(seconds=61)
    assert sending.send(world.context) == MESSAGES


def test_a_card_that_nobody_looks_at_any_more_is_forgotten(world):
    with world.context.database.write() as session:
        note_card(session, "wrong", CardExpired(detail="-"), world.clock(), world.clock())
    world.clock.forward(minutes=4)
    signing.sign(world.context)
    with world.context.database.read() as session:
        assert [card.label for card in seen_cards(session)] == ["key-file"]
