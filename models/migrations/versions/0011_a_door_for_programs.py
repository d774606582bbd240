"""Orders that programs bring: what was asked with them, once for each key of theirs; and a feed of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.tables.base import BigId, UTCDateTime

revision = "0011"
down_revision = "0010"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
QUEUED = "queued_at IS NOT NULL"
UNPLACED = "place IS NULL"


def upgrade() -> None:
    op.add_column("batch", sa.Column("client_reference", sa.String(100), nullable=True))
    op.add_column("batch", sa.Column("asked_for", JSON, nullable=False, server_default="{}"))
    op.add_column("batch", sa.Column("queued_at", UTCDateTime(), nullable=True))
    op.create_index(
        "ix_batch_queued",
        "batch",
        ["queued_at"],
        sqlite_where=sa.text(QUEUED),
        postgresql_where=sa.text(QUEUED),
    )
    op.create_index(op.f("ix_batch_client_reference"), "batch", ["client_reference"])
    op.create_table(
        "call_once",
        sa.Column("person_id", BigId, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("made", sa.String(20), nullable=False),
        sa.Column("made_id", BigId, nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "key", name=op.f("pk_call_once")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_call_once_person_id")),
    )
    op.create_index(op.f("ix_call_once_made_made_id"), "call_once", ["made", "made_id"])
    op.add_column("notification", sa.Column("place", BigId, nullable=True))
    # what was told before the feed began keeps its order: nobody has pulled yet
    op.execute("UPDATE notification SET place = id")
    op.create_index("ux_notification_place", "notification", ["place"], unique=True)
    op.create_index(
        "ix_notification_unplaced",
        "notification",
        ["id"],
        sqlite_where=sa.text(UNPLACED),
        postgresql_where=sa.text(UNPLACED),
    )
