"""What persons said that columns mean, remembered for sheets with the same header row."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from sqlalchemy import select

from models.rules.errors import NotFound
from models.rules.people import Deed, require, require_whole
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import RememberedLayout
from models.tables.bulk import insert_new
from sheets.questions import Answers
from sheets.reader import SheetReading
from tasks.context import Context

_LAYOUT_LENGTH: Final = 4000
_KEY_SHOWN: Final = 8


def remember_layout(context: Context, reading: SheetReading[Any], answers: Answers) -> None:
    """Keep what a person said of columns for the next sheet with the same header row.

    Not that a column is ignored whose cells are in stock: that is asked for each file.
    """
    described = reading.described
    kept = {
        key: meaning
        for key, meaning in answers.columns.items()
        if key in described["answered"] and key not in described["ignored_in_stock"]
    }
    header = described["layout"][:_LAYOUT_LENGTH]
    if not kept:
        return
    key = hashlib.sha256(header.encode()).hexdigest()
    with context.database.write() as session:
        known = session.get(RememberedLayout, key, with_for_update=NO_KEY_UPDATE)
        if known is None:
            row = {"key": key, "header": header, "meanings": kept, "used_at": context.now()}
            insert_new(session, RememberedLayout, [row])
        else:
            known.meanings = {**known.meanings, **kept}
            known.used_at = context.now()


def list_layouts(context: Context) -> list[dict[str, Any]]:
    """The layouts that are remembered, the newest first: key, header row, meanings of columns."""
    with context.database.read() as session:
        found = session.scalars(select(RememberedLayout).order_by(RememberedLayout.used_at.desc()))
        return [
            {
                "key": layout.key[:_KEY_SHOWN],
                "header": layout.header.split("|"),
                "columns": layout.meanings,
                "used_at": layout.used_at.isoformat(),
            }
            for layout in found
        ]


def forget_layout(context: Context, key: str) -> None:
    """Forget a layout by the key that the list shows, or all. Raises `NotFound`, `NotAllowed`."""
    require(context.actor, Deed.ORDER_CONFIRMED)
    require_whole(context.actor)
    with context.database.write() as session:
        found = session.scalars(select(RememberedLayout)).all()
        those = [layout for layout in found if key == "all" or layout.key.startswith(key)]
        if not those:
            raise NotFound(what=key)
        for layout in those:
            session.delete(layout)
