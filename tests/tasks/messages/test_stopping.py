"""A process that is to end begins nothing new; what it leaves is done by the next one."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from config.names import Task
from models.rules.states import SubmissionState
from models.tables.submissions import Submission
from tasks.messages import preparing, sending, signing
from tests.support.factories import agent_certificate, bring_in, confirm, upload

MESSAGES = 5


@pytest.fixture
def prepared(world):
    """Messages that wait for the card."""
    certificates = [agent_certificate(n) for n in range(MESSAGES)]
    bring_in(world, certificates=certificates)
    batch_id = upload(world, [(c.number, "核销", "", 1) for c in certificates])
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    return world


def count(world, state):
    with world.context.database.read() as session:
        return session.scalar(
            select(func.count()).select_from(Submission).where(Submission.state == state)
        )


def test_a_submitter_that_is_to_end_makes_one_signature_and_keeps_no_message_for_itself(prepared):
    prepared.context.stopping = lambda: True
    prepared.rings.clear()
    assert signing.sign(prepared.context) == 1
    assert prepared.rings == [(Task.SEND, ()), (Task.SIGN, ())]
    prepared.context.stopping = lambda: False
    assert signing.sign(prepared.context) == MESSAGES - 1


def test_a_sender_that_is_to_end_sends_nothing_more(prepared):
    signing.sign(prepared.context)
    prepared.context.stopping = lambda: True
    assert sending.send(prepared.context) == 0
    assert count(prepared, SubmissionState.SIGNED) == MESSAGES
    assert prepared.customs.messages() == []
    prepared.context.stopping = lambda: False
    assert sending.send(prepared.context) == MESSAGES
