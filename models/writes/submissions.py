"""Moving messages: compare-and-set, by the moves that there are.

What a move leaves behind stands in the message (when it was signed, taken, decided), in its attempts and in the
history of its forms.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import FromClause, func, update
from sqlalchemy.orm import Session

from models.rules.states import SUBMISSION_MOVES, SubmissionState
from models.tables.bulk import ids_table
from models.tables.submissions import Submission


def move_submissions(
    session: Session,
    which: FromClause | Collection[int],
    target: SubmissionState,
    **values: Any,
) -> set[int]:
    """Move those of the messages that may go to `target` from where they are; gives the ids moved.

    `which`: ids, or a table with a column `id` whose other columns `values` may name. `values` are written
    with the move. A message in another state is left alone: a repeat is normal.
    """
    if not isinstance(which, FromClause):
        if not which:
            return set()
        which = ids_table(session, sorted(which))
    starts = sorted(start.value for start, end in SUBMISSION_MOVES if end is target)
    # not a condition that an index has: statistics may be wrong about states, ids are never
    may_move = func.coalesce(Submission.state, "").in_(starts)
    moved = session.scalars(
        update(Submission)
        .where(Submission.id == which.c.id, may_move)
        .values(state=target, **values)
        .returning(Submission.id)
    )
    return set(moved)
