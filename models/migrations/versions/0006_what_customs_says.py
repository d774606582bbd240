"""What customs says is taken with care: questions to its list, callbacks by their id, cursors that are opaque.

And what a person stops, and who works.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.tables.base import BigId, UTCDateTime

revision = "0006"
down_revision = "0005"

QUARANTINED = "state = 'quarantined'"
ASKED = "ask_at IS NOT NULL"


def upgrade() -> None:
    _receipts()
    op.add_column("batch", sa.Column("cancelled_at", UTCDateTime(), nullable=True))
    op.execute(  # until now a batch that was taken back expired at the moment of its confirmation
        "UPDATE batch SET cancelled_at = confirmed_at"
        " WHERE state = 'working' AND expires_at <= confirmed_at"
    )
    op.add_column(
        "reconciliation",
        sa.Column("cursor", sa.String(255), nullable=False, server_default=""),
    )
    op.add_column(
        "reconciliation",
        sa.Column("after_type", sa.String(2), nullable=False, server_default=""),
    )
    # A run under way knows serials where cursors belong: it begins anew.
    op.execute(
        "DELETE FROM difference WHERE run_id IN"
        " (SELECT id FROM reconciliation WHERE state = 'comparing')"
    )
    op.execute(
        "UPDATE reconciliation SET stage = 'certificates', holder = '', after = '', ours = 0,"
        " listed = 0, moving = 0, before_us = 0 WHERE state = 'comparing'"
    )
    op.create_table(
        "pause",
        sa.Column("id", BigId, nullable=False),
        sa.Column("scope", sa.String(32), nullable=False),
        sa.Column("value", sa.String(32), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pause")),
        sa.UniqueConstraint("scope", "value", name=op.f("uq_pause_scope_value")),
    )
    op.create_table(
        "pulse",
        sa.Column("process", sa.String(20), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("process", name=op.f("pk_pulse")),
    )


def _receipts() -> None:
    op.add_column("receipt_line", sa.Column("ask_at", UTCDateTime(), nullable=True))
    op.add_column(
        "receipt_line", sa.Column("ask_count", sa.Integer(), nullable=False, server_default="0")
    )
    op.execute("UPDATE receipt_line SET ask_at = managed_at WHERE open AND verdict = 'ask'")
    op.drop_index("ix_receipt_line_ask", table_name="receipt_line")
    op.create_index(
        "ix_receipt_line_ask",
        "receipt_line",
        ["ask_at"],
        sqlite_where=sa.text(ASKED),
        postgresql_where=sa.text(ASKED),
    )
    op.add_column("inbox", sa.Column("callback_id", sa.String(255), nullable=True))
    op.create_index("ix_inbox_callback_id", "inbox", ["callback_id"])
    op.create_index(
        "ix_inbox_quarantined",
        "inbox",
        ["id"],
        sqlite_where=sa.text(QUARANTINED),
        postgresql_where=sa.text(QUARANTINED),
    )
