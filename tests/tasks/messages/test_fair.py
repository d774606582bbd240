"""Batches, principals and cards share the line: by turns, and nothing twice."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import func, select, update

from config import crash
from config.crash import Point
from models.rules.card_errors import SigningError
from models.rules.states import SubmissionState
from models.tables.card import Card
from models.tables.customs_link import CustomsLink
from models.tables.database import Database
from models.tables.submissions import Submission
from sheets.imports import CertificateRecord
from tasks.messages import preparing, sending, signing
from tests.support.factories import (
    EXPORTER,
    SENDER,
    agent_certificate,
    bring_in,
    confirm,
    issued,
    upload,
)

LARGE = 60


@pytest.fixture
def slow(monkeypatch):
    """A card that makes four signatures before they are stored."""
    monkeypatch.setattr(signing, "SIGNED_TOGETHER", 4)
    monkeypatch.setattr(signing, "RUN_SECONDS", 0.0)  # one window a ring


def order(world, *numbers):
    batch = upload(world, [(agent_certificate(n).number, "核销", "", 1) for n in numbers])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    return batch


@pytest.fixture
def large(world):
    """A batch of sixty messages, prepared."""
    certificates = [agent_certificate(n) for n in range(1, LARGE + 40)]
    bring_in(world, [issued(SENDER, "B", "211014001", LARGE + 40)], certificates)
    return order(world, *range(1, LARGE + 1))


def count(world, state, batch):
    with world.context.database.read() as session:
        return session.scalar(
            select(func.count()).where(Submission.state == state, Submission.batch_id == batch)
        )


def test_a_single_order_is_signed_next_however_much_was_ordered_before(world, large, slow):
    signing.sign(world.context)
    single = order(world, LARGE + 1)
    signing.sign(world.context)
    assert count(world, SubmissionState.SIGNED, single) == 1
    assert count(world, SubmissionState.SIGNED, large) == 7


def test_a_single_order_is_sent_next_though_a_batch_is_signed(world, large):
    signing.sign(world.context)
    assert count(world, SubmissionState.SIGNED, large) == LARGE
    single = order(world, LARGE + 1)
    signing.sign(world.context)
    claimed = sending._claim(world.context, 4)
    assert single in [c.batch_id for c in claimed]


def test_two_large_batches_share_the_card(world, large, slow):
    for _ in range(5):
        signing.sign(world.context)
        sending.send(world.context)
    other = order(world, *range(LARGE + 1, LARGE + 31))
    for _ in range(5):
        signing.sign(world.context)
        sending.send(world.context)
    with world.context.database.read() as session:
        turns = session.scalars(
            select(Submission.batch_id)
            .where(Submission.signed_at.is_not(None))
            .order_by(Submission.signed_at, Submission.turn)
        ).all()
    assert abs(turns[20:].count(large) - turns[20:].count(other)) <= 1


def test_the_principals_of_a_batch_take_turns(world, slow):
    mine = [agent_certificate(n) for n in range(1, 31)]
    others = [
        CertificateRecord(f"B20MA6TXQ0D1{n:04d}", "B", EXPORTER, SENDER, date(2022, 1, 1), 2, "approved")
        for n in range(1, 4)
    ]  # fmt: skip
    bring_in(world, [issued(SENDER, "B", "211014001", 40)], [*mine, *others])
    batch = upload(world, [(c.number, "核销", "", 1) for c in (*mine, *others)])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    signing.sign(world.context)
    with world.context.database.read() as session:
        signed = session.scalars(
            select(Submission.certificate).where(Submission.state == SubmissionState.SIGNED)
        ).all()
    assert sorted(signed) == [*(c.number for c in mine[:2]), *(c.number for c in others[:2])]


def test_a_batch_that_is_prepared_piece_by_piece_keeps_its_place(world, large, monkeypatch):
    monkeypatch.setattr(preparing, "CERTIFICATES_TOGETHER", 3)
    batch = upload(
        world, [(agent_certificate(LARGE + n).number, "核销", "", 1) for n in range(1, 9)]
    )
    confirm(world, batch)
    made = [preparing.prepare(world.context, batch) for _ in range(4)]
    assert made == [3, 3, 2, 0]
    with world.context.database.read() as session:
        turns = session.scalars(
            select(Submission.turn).where(Submission.batch_id == batch).order_by(Submission.id)
        ).all()
    assert turns == list(range(turns[0], turns[0] + 8))


def test_rows_that_are_not_right_take_the_place_of_none_that_is(world, monkeypatch):
    monkeypatch.setattr(preparing, "CERTIFICATES_TOGETHER", 1)
    certificates = [agent_certificate(n) for n in (1, 2)]
    bring_in(world, [issued(SENDER, "B", "211014001", 9)], certificates)
    wrong = (certificates[0].number, "作废", "211014001")  # without its reason
    batch = upload(world, [wrong, (certificates[1].number, "核销", "211014002")])
    confirm(world, batch)
    assert preparing.prepare(world.context, batch) == 1


class CountingSigner:
    """A card that notes whom it signed for, and waits for the other one at its first signature."""

    def __init__(self, signer, together, signed):
        self._signer, self._together, self._signed = signer, together, signed

    def __getattr__(self, name):
        return getattr(self._signer, name)

    def sign(self, data):
        if self._together is not None:
            self._together.wait(20)
            self._together = None
        self._signed.append(data)
        return self._signer.sign(data)


def test_two_cards_share_what_waits_and_sign_nothing_twice(world, large, database_url):
    together, signed = threading.Barrier(2), []
    databases = [Database(database_url) for _ in range(2)]
    cards = [
        replace(
            world.context,
            database=database,
            settings=replace_label(world.context.settings, f"card {n}"),
            open_signer=lambda: CountingSigner(world.context.open_signer(), together, signed),
        )
        for n, database in enumerate(databases)
    ]
    threads = [threading.Thread(target=signing.sign, args=(card,)) for card in cards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for database in databases:
        database.close()
    assert count(world, SubmissionState.SIGNED, large) == LARGE
    assert len(signed) == len(set(signed)) == LARGE
    with world.context.database.read() as session:
        assert session.scalars(select(Card.label).order_by(Card.label)).all() == [
            "card 0",
            "card 1",
        ]


class BreakingSigner(CountingSigner):
    """A card that is pulled behind its third signature, until it is put in again."""

    pulled = True
    looked_at = 0

    def examine(self):
        self.looked_at += 1
        return self._signer.examine()

    def sign(self, data):
        if self.pulled and len(self._signed) == 3:
            raise SigningError(detail="pulled")
        return super().sign(data)


def test_a_card_that_breaks_off_keeps_nothing_for_itself_and_is_left_alone_for_a_moment(
    world, large
):
    card = BreakingSigner(world.context.signer, None, [])
    world.context.__dict__["signer"] = card
    assert signing.sign(world.context) == 3
    with world.context.database.read() as session:
        waits = select(Submission.lease_until).where(Submission.state == SubmissionState.PREPARED)
        assert session.scalars(waits).all() == [None] * (LARGE - 3)
    card.pulled, looked_at = False, card.looked_at
    world.clock.forward(seconds=7)
    assert signing.sign(world.context) == 0
    assert card.looked_at == looked_at
    world.clock.forward(seconds=4)
    assert signing.sign(world.context) == LARGE - 3
    assert card.looked_at > looked_at


def replace_label(settings, label):
    return settings.model_copy(update={"pkcs11_token_label": label})


class Died(BaseException):
    """The process is gone."""


def test_what_a_card_that_died_had_claimed_is_signed_by_another(world, large, slow, monkeypatch):
    def die(point):
        if point is Point.SIGNED_NOT_STORED:
            raise Died

    with monkeypatch.context() as dying:
        dying.setattr(crash, "_crash", die)
        with pytest.raises(Died):
            signing.sign(world.context)
    while signing.sign(world.context):
        pass
    assert count(world, SubmissionState.PREPARED, large) == 4
    world.clock.forward(seconds=61)
    while signing.sign(world.context):
        pass
    assert count(world, SubmissionState.SIGNED, large) == LARGE


def test_a_claim_from_a_clock_that_ran_ahead_does_not_keep_a_message(world, large):
    with world.context.database.write() as session:
        far = world.clock() + (signing.SIGNING_LEASE * 100)
        session.execute(update(Submission).values(lease_until=far))
    assert signing.sign(world.context) == LARGE


def test_where_the_turns_stand_is_kept(world, large, slow):
    signing.sign(world.context)
    sending.send(world.context)
    with world.context.database.read() as session:
        link = session.scalars(select(CustomsLink)).one()
        assert (link.served_turn, link.newest_turn, link.newcomers) == (3, 0, 1)
        assert link.claim_number >= 1
