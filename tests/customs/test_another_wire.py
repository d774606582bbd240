"""Another wire to customs: the main job goes through it, and not one line outside `customs/` has changed."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from customs.http import HttpGateway
from models.reads.invariants import broken_invariants
from models.rules.states import BatchState, FormState, InboxState, PagesMode
from models.tables.batches import Batch
from models.tables.forms import Form
from models.tables.reconciliation import Difference, Run
from models.tables.submissions import Submission
from tasks.night import reconciliation
from tasks.orders import intake, planning
from tasks.receipts import inbox
from tests.conftest import DATA
from tests.support.another_wire import AnotherWire, another_customs, serving
from tests.support.factories import AGENT_HANDLED, agent_certificate, bring_in, confirm, upload
from tests.support.looking import results


@pytest.fixture
def other(world):
    """The world with customs on the other wire."""
    wire = AnotherWire()
    with serving(another_customs(world.customs.simulated, world.context.signer)) as url:
        world.context.open_wire = lambda: wire
        world.context.open_gateway = lambda: HttpGateway(wire, url, "token", 4, 2)
        yield world


def sound(world):
    with world.context.database.read() as session:
        assert broken_invariants(session) == {}


def test_the_shared_sample_ends_with_six_verified_and_one_voided_there_too(other):
    bring_in(other)
    content = (DATA / "samples" / "核销导入.xlsx").read_bytes()
    batch_id = intake.receive_sheet(other.context, content, "核销导入.xlsx", PagesMode.ADDITIONAL)
    planning.check(other.context, batch_id)
    confirm(other, batch_id)
    other.drain()
    assert "".join(sorted(other.customs.effects().values())) == "VVVVVVZ"
    with other.context.database.read() as session:
        assert session.get_one(Batch, batch_id).state is BatchState.FINISHED
        sent = session.scalars(select(Submission.payload)).all()
    assert {json.loads(json.loads(p)["order"])["kind"] for p in sent} == {"USE", "DESTROY"}
    sound(other)


def test_its_codes_hold_a_form_or_free_it_and_are_shown_as_they_are(other):
    bring_in(other, certificates=[agent_certificate(n) for n in (1, 2)])
    other.customs.play(
        {"fault": "refuse_form", "serial": "211014001", "code": "2103"},
        {"fault": "refuse_form", "serial": "211014002", "code": "2106"},
    )
    orders = [[agent_certificate(n).number, "核销", f"21101400{n}"] for n in (1, 2)]
    batch_id = upload(other, orders)
    confirm(other, batch_id)
    other.drain()
    with other.context.database.read() as session:
        forms = session.execute(
            select(Form.serial, Form.state, Form.hold)
            .where(Form.serial.in_(["211014001", "211014002"]))
            .order_by(Form.serial)
        ).all()
    assert [tuple(f) for f in forms] == [
        ("211014001", FormState.ISSUED, "customs E-OWNER"),
        ("211014002", FormState.ISSUED, None),
    ]
    assert ["E-OWNER" in str(r) for r in results(other, batch_id)] == [True, False]
    sound(other)


def test_a_night_reads_its_list_page_by_page_and_finds_nothing_different(other):
    bring_in(other)
    batch_id = upload(other, [[AGENT_HANDLED, "核销", "", 1]])
    confirm(other, batch_id)
    other.drain()
    run_id = reconciliation.open_run(other.context)
    reconciliation.reconcile(other.context, run_id, 60)
    with other.context.database.read() as session:
        assert session.get_one(Run, run_id).finished_at is not None
        found = session.scalars(select(Difference.kind).where(Difference.run_id == run_id)).all()
    assert "contradiction" not in found
    sound(other)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b'{"event": "maintenance"}', InboxState.KEPT),
        (b'{"decision": {"id": "D1"}}', InboxState.RECEIVED),
        (b'{"type": "receipt.created"}', InboxState.QUARANTINED),
    ],
)
def test_its_callbacks_are_told_apart(other, body, state):
    assert inbox.callback_arrival(other.context.wire, "m1", body).state is state
