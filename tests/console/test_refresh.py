"""A program does not want to wait: customs is asked now, and about no more than was meant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from config.names import Task
from models.rules.errors import GatewayUnreachable
from models.rules.states import AttemptKind, SubmissionState
from models.tables.customs_link import CustomsLink
from models.tables.submissions import Attempt, Submission
from tasks.app import configure
from tasks.messages import asking, preparing, sending, signing
from tasks.receipts import inbox
from tests.support.factories import AGENT_HANDLED, SELF_HANDLED, bring_in, confirm, upload
from tests.support.programs import program
from tests.support.system import broker
from tests.tasks.receipts.test_polling import Asking


@pytest.fixture
def office(world, short_tmp):
    """Messages about two certificates, of which customs' answers were lost."""
    world.clock.stop()  # waits are counted by it
    bring_in(world)
    batch = upload(world, [(AGENT_HANDLED, "核销", "", 1), (SELF_HANDLED, "核销", "", 1)])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    signing.sign(world.context)
    world.customs.play({"fault": "answer_lost"})
    sending.send(world.context)
    world.rings.clear()
    with broker(short_tmp / f"refresh-{id(world)}") as server:
        url = SecretStr(f"redis://127.0.0.1:{server.port}/0")
        settings = world.context.settings.model_copy(update={"broker_url": url})
        world.context.settings = settings
        configure(settings)
        yield world


def asked_about(world):
    """Certificates whose messages were asked about, by attempt."""
    with world.context.database.read() as session:
        return session.scalars(
            select(Submission.certificate)
            .join(Attempt, Attempt.submission_id == Submission.id)
            .where(Attempt.kind == AttemptKind.ASK)
            .order_by(Attempt.id)
        ).all()


def work(world):
    """What the sender does for those who rang."""
    for ids in [r[1] for r in world.rings if r[0] is Task.ASK]:
        asking.rung(world.context, *ids)
    world.rings.clear()


def poll_in(world):
    with world.context.database.read() as session:
        link = session.scalars(select(CustomsLink)).one()
        return round((link.poll_at - world.clock()).total_seconds())


def refresh(erp, **said):
    answer = erp.post("/refresh", json=said)
    assert (answer.status_code, answer.json) == (202, {"accepted": True})


def test_of_a_certificate_its_own_messages_are_asked_about_due_or_not(office):
    refresh(program(office), certificate=AGENT_HANDLED)
    work(office)
    assert asked_about(office) == [AGENT_HANDLED]
    with office.context.database.read() as session:
        states = dict(session.execute(select(Submission.certificate, Submission.state)).all())
    assert states == {
        AGENT_HANDLED: SubmissionState.TAKEN,
        SELF_HANDLED: SubmissionState.IN_DOUBT,
    }


def test_without_one_what_is_in_doubt_is_asked_about_when_it_is_due(office):
    erp = program(office)
    refresh(erp)
    work(office)
    assert asked_about(office) == []
    office.clock.forward(seconds=10)
    refresh(erp)
    work(office)
    assert sorted(asked_about(office)) == sorted([AGENT_HANDLED, SELF_HANDLED])


def test_a_certificate_that_customs_has_nothing_of_is_not_asked_about(office):
    office.clock.forward(seconds=10)
    refresh(program(office), certificate="B201026902331601")
    assert {task for task, _ in office.rings} == {Task.POLL, Task.APPLY, Task.ADOPT}


def test_receipts_are_due_within_a_second_however_often_it_is_said(office):
    inbox.poll(office.context)
    erp = program(office)
    for _ in range(3):
        refresh(erp, certificate=AGENT_HANDLED)
    assert poll_in(office) <= 1
    office.clock.forward(seconds=1)
    assert inbox.poll_when_due(office.context) == 0
    assert poll_in(office) > 1


def test_a_wait_that_customs_asked_for_is_not_cut_short(office):
    with pytest.raises(GatewayUnreachable):
        inbox.poll(replace(office.context, open_gateway=Asking))
    refresh(program(office))
    assert 1150 < poll_in(office) <= 1200
