"""What became of the rows of a batch."""

from __future__ import annotations

from models.reads.row_results import row_results
from models.tables.batches import Batch


def results(world, batch_id):
    with world.context.database.read() as session:
        return list(row_results(session, session.get_one(Batch, batch_id)))


def codes(world, batch_id):
    return {r.number: [p.code for p in r.problems] for r in results(world, batch_id)}
