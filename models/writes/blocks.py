"""The mark of a block: below it no form may be taken, so that a page count need not look there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import BigInteger, func, select, update
from sqlalchemy.orm import Session

from models.rules.states import FormState
from models.tables.base import NO_KEY_UPDATE, Serial
from models.tables.bulk import ids_table, rows_table
from models.tables.forms import Block, Form


def reopen_blocks(session: Session, form_ids: Sequence[int]) -> None:
    """These forms may be taken again: page counts must look at their blocks from there on."""
    given = ids_table(session, form_ids)
    lowest = dict(
        session.execute(
            select(Form.block_id, func.min(Form.serial))
            .join(given, given.c.id == Form.id)
            .group_by(Form.block_id)
        ).all()
    )
    _lock_blocks(session, list(lowest))
    returned = rows_table(session, {"id": BigInteger(), "serial": Serial}, sorted(lowest.items()))
    lower = (Block.lowest_free.is_(None)) | (Block.lowest_free > returned.c.serial)
    session.execute(
        update(Block).where(Block.id == returned.c.id, lower).values(lowest_free=returned.c.serial)
    )


def advance_blocks(session: Session, block_ids: Iterable[int]) -> None:
    """Page counts have drawn from these blocks: let the next one begin where they ended.

    Looks on from the old mark, so that a form which stayed behind (named by a row that was not carried out)
    keeps the mark at itself. One that is held or lost does not: its release sets the mark back.
    """
    ids = sorted(block_ids)
    _lock_blocks(session, ids)
    given = ids_table(session, ids)
    lowest = (
        select(func.min(Form.serial))
        .where(
            Form.block_id == Block.id,
            Form.serial >= Block.lowest_free,
            Form.state == FormState.ISSUED,
            Form.hold.is_(None),
        )
        .scalar_subquery()
    )
    session.execute(
        update(Block).where(Block.id.in_(select(given.c.id))).values(lowest_free=lowest)
    )


def _lock_blocks(session: Session, block_ids: Sequence[int]) -> None:
    """Before a mark is compared: another transaction may be moving it the other way."""
    given = ids_table(session, sorted(block_ids))
    session.execute(
        select(Block.id)
        .join(given, given.c.id == Block.id)
        .order_by(Block.id)
        .with_for_update(**NO_KEY_UPDATE, of=Block)
    ).all()
