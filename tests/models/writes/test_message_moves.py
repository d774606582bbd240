"""Messages move as the table of moves says, and from nowhere else."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import select

from models.rules.states import SUBMISSION_MOVES, SubmissionState
from models.tables.bulk import insert_rows
from models.tables.submissions import Submission
from models.writes.submissions import move_submissions
from tasks.messages import preparing
from tests.support.factories import agent_certificate, bring_in, confirm, upload


@pytest.fixture
def message(world):
    """The id of one message."""
    bring_in(world, certificates=[agent_certificate(1)])
    batch_id = upload(world, [[agent_certificate(1).number, "核销", "211014001"]])
    confirm(world, batch_id)
    preparing.prepare(world.context, batch_id)
    with world.context.database.read() as session:
        return session.scalars(select(Submission.id)).one()


def another(session, message, state: SubmissionState, **values) -> int:
    """The id of a message like this one in another state; a move there need not exist."""
    row = session.execute(select(Submission.__table__).where(Submission.id == message)).one()
    new = {**row._mapping, "number": uuid.uuid4().hex.upper(), "state": state, **values}
    del new["id"]
    insert_rows(session, Submission, [new])
    return session.scalars(select(Submission.id).where(Submission.number == new["number"])).one()


@pytest.mark.parametrize("start", SubmissionState)
def test_a_message_goes_only_where_the_table_says(world, message, start):
    for target in SubmissionState:
        with world.context.database.write() as session:
            one = another(session, message, start)
            moved = move_submissions(session, [one], target, next_attempt_at=None)
            state = session.scalar(select(Submission.state).where(Submission.id == one))
        allowed = (start, target) in SUBMISSION_MOVES
        assert moved == ({one} if allowed else set()), target
        assert state is (target if allowed else start), target


def test_what_is_not_moved_keeps_everything_else_too(world, message):
    with world.context.database.write() as session:
        one = another(session, message, SubmissionState.DECIDED, seq_no="1" * 18)
        assert move_submissions(session, [one], SubmissionState.TAKEN, seq_no="2" * 18) == set()
        assert session.scalar(select(Submission.seq_no).where(Submission.id == one)) == "1" * 18
        assert move_submissions(session, [], SubmissionState.TAKEN) == set()
