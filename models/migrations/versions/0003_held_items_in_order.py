"""The held items of a batch are found in the order of their forms, so that taking them chunk by chunk reads each
once.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

HELD = "state = 'held'"


def upgrade() -> None:
    """Replace the index; nothing else changes."""
    op.drop_index("ix_item_held_batch", table_name="item")
    op.create_index(
        "ix_item_held_batch",
        "item",
        ["batch_id", "form_id"],
        sqlite_where=sa.text(HELD),
        postgresql_where=sa.text(HELD),
    )
