"""What customs told us and nothing of ours fits waits for a person, who looks, applies it again or sets it aside."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from customs.profile.bcm1 import Bcm1
from models.reads.people import list_acts
from models.rules.errors import NotFound
from models.rules.people import Deed
from models.rules.states import FormState, InboxState
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form
from models.tables.inbox import InboxMessage
from models.tables.submissions import Submission
from tasks.messages import preparing, sending, signing
from tasks.receipts import applying, inbox, quarantine
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, receipt_xml, upload


@pytest.fixture
def told(world):
    """Inbox 1 cannot be read, 2 came before its message had left, 3 is no receipt and waits for nobody."""
    bring_in(world)
    batch_id = upload(world, [(AGENT_HANDLED, "核销", "211014001")])
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    with world.context.database.read() as session:
        number = session.scalars(select(Submission.number)).one()
    early = receipt_xml("R1", number, "2" * 18, [("211014001", "0000", "2")])
    arrivals = [
        inbox.callback_arrival(Bcm1(), "msg_1", b"\x1b[31m{not json"),
        inbox.receipt_arrival("R1", early, "poll"),
        inbox.callback_arrival(Bcm1(), "msg_2", b'{"type": "something", "data": {}}'),
    ]
    with world.context.database.write() as session:
        for arrival in arrivals:
            inbox.store(session, [arrival], world.clock())
    applying.apply(world.context)
    return world


def states(world):
    with world.context.database.read() as session:
        return list(session.scalars(select(InboxMessage.state).order_by(InboxMessage.id)))


def waiting(world):
    return [q.number for q in quarantine.quarantined(world.context)]


def open_discrepancies(world):
    with world.context.database.read() as session:
        return session.scalars(
            select(Discrepancy.inbox_id).where(Discrepancy.closed_at.is_(None))
        ).all()


def test_a_person_sees_what_waits_and_nothing_else(told):
    assert waiting(told) == [1, 2]
    assert quarantine.one_of_them(told.context, 1).reason.startswith("unreadable")
    assert "not json" in quarantine.one_of_them(told.context, 1).shown(whole=True)["body"]
    for number in (3, 4):
        with pytest.raises(NotFound):
            quarantine.one_of_them(told.context, number)


@pytest.mark.parametrize("number", [3, 4])
def test_where_one_does_not_wait_nothing_is_done_with_the_others(told, number):
    with pytest.raises(NotFound):
        quarantine.dismiss(told.context, [1, number], "wang", "asked customs")
    with pytest.raises(NotFound):
        quarantine.apply_again(told.context, [2, number])
    assert waiting(told) == [1, 2]


def test_what_is_set_aside_is_kept_and_what_it_raised_is_closed(told):
    assert sorted(open_discrepancies(told)) == [1, 2]
    assert quarantine.dismiss(told.context, [1], "wang", "asked customs") == [1]
    assert states(told) == [InboxState.KEPT, InboxState.QUARANTINED, InboxState.KEPT]
    assert open_discrepancies(told) == [2]
    with told.context.database.read() as session:
        act = list_acts(session, 1)[0]
    assert (act["deed"], act["about"]) == (Deed.RECEIPT_DISMISSED, "1")


def test_what_fits_by_now_is_used_and_what_does_not_waits_on(told):
    assert quarantine.apply_again(told.context, [1, 2]) == []
    assert waiting(told) == [1, 2]
    signing.sign(told.context)
    sending.send(told.context)
    with told.context.database.write() as session:
        session.scalars(select(Submission)).one().seq_no = "2" * 18
    assert quarantine.apply_again(told.context, [1, 2]) == [2]
    assert waiting(told) == [1]
    with told.context.database.read() as session:
        state = session.scalars(select(Form.state).where(Form.serial == "211014001")).one()
    assert state is FormState.VERIFIED
