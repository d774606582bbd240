"""The moves of a message: `SUBMISSION_MOVES` is held by the database of every test (tests/support/databases.py)."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from models.rules.states import SubmissionState
from models.tables.submissions import Submission
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload


@pytest.mark.parametrize("target", [SubmissionState.PREPARED, SubmissionState.SENDING])
def test_a_decided_message_goes_nowhere(world, target):
    bring_in(world)
    confirm(world, upload(world, [(AGENT_HANDLED, "核销", "", 1)]))
    world.drain()
    with (
        pytest.raises(DBAPIError, match="a move that does not exist"),
        world.context.database.write() as session,
    ):
        session.execute(update(Submission).values(state=target))
