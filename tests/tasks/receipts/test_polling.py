"""Receipts are fetched as the work asks for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from customs.gateway import ReceiptPage
from models.rules.errors import GatewayUnreachable
from models.tables.customs_link import CustomsLink
from tasks.messages import preparing, sending, signing
from tasks.receipts import applying, inbox
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload


@pytest.fixture
def sending_one(world):
    """A message that is signed; sends it. Waits are counted by the test's own clock."""
    world.clock.stop()
    bring_in(world)
    batch = upload(world, [(AGENT_HANDLED, "核销", "", 1)])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    signing.sign(world.context)
    return lambda: sending.send(world.context)


def poll_in(world):
    with world.context.database.read() as session:
        link = session.scalars(select(CustomsLink)).one()
        return round((link.poll_at - world.clock()).total_seconds())


def test_receipts_are_asked_for_soon_while_one_is_awaited_and_rarely_when_none_is(
    world, sending_one
):
    inbox.poll(world.context)
    assert poll_in(world) == 60
    sending_one()
    assert poll_in(world) == 1
    inbox.poll(world.context)
    assert poll_in(world) == 1
    world.clock.forward(seconds=50)
    inbox.poll(world.context)
    assert poll_in(world) == 5
    world.customs.simulated.decide_due()
    inbox.poll(world.context)
    applying.apply(world.context)
    inbox.poll(world.context)
    assert poll_in(world) == 60


def test_what_callbacks_bring_is_polled_for_seldom(world, sending_one):
    sending_one()
    world.customs.simulated.decide_due()
    (row,) = world.customs.simulated.ledger.read("SELECT receipt_id, xml FROM receipt LIMIT 1")
    arrival = inbox.receipt_arrival(row["receipt_id"], row["xml"].encode(), "callback", "c1")
    with world.context.database.write() as session:
        inbox.store(session, [arrival], world.clock())
    inbox.poll(world.context)
    inbox.poll(world.context)
    assert poll_in(world) == 10


def test_it_is_not_polled_before_it_is_due(world, sending_one):
    sending_one()
    inbox.poll(world.context)
    world.customs.simulated.decide_due()
    assert inbox.poll_when_due(world.context) == 0
    world.clock.forward(seconds=1)
    assert inbox.poll_when_due(world.context) == 1
    assert inbox.poll_when_due(world.context) == 0


class Asking:
    """A gateway that asks to wait for so long."""

    def receipts(self, after: str, limit: int) -> ReceiptPage:
        raise GatewayUnreachable(detail="HTTP 429", wait=1200.0)

    def close(self) -> None:
        pass


def test_a_wait_that_customs_asks_for_is_kept(world, sending_one):
    sending_one()
    with pytest.raises(GatewayUnreachable):
        inbox.poll(replace(world.context, open_gateway=Asking))
    assert poll_in(world) == 1200
