"""Messages leave by turns, a claim to send has a number, and a card claims what it signs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

LEAVES = "state IN ('prepared', 'signed')"
TAKEN = "state = 'taken'"
LEFT = "state IN ('sending', 'in_doubt')"


def upgrade() -> None:
    op.add_column(
        "submission", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.execute(  # the lease of a sending that has ended; from now on it would keep others away
        "UPDATE submission SET lease_until = NULL WHERE state IN ('prepared', 'signed')"
    )
    op.add_column("batch", sa.Column("next_turn", sa.BigInteger(), nullable=True))
    for name in ("claim_number", "served_turn", "newest_turn"):
        op.add_column(
            "customs_link", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        )
    op.add_column(
        "customs_link", sa.Column("newcomers", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "customs_link",
        sa.Column("called_back", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.drop_index("ix_submission_due", table_name="submission")
    op.create_index(
        "ix_submission_turn",
        "submission",
        ["state", "turn", "id", "next_attempt_at"],
        sqlite_where=sa.text(LEAVES),
        postgresql_where=sa.text(LEAVES),
    )
    op.create_index(
        "ix_submission_left",
        "submission",
        ["state", "next_attempt_at"],
        sqlite_where=sa.text(LEFT),
        postgresql_where=sa.text(LEFT),
    )
    op.create_index(
        "ix_submission_taken",
        "submission",
        ["taken_at"],
        sqlite_where=sa.text(TAKEN),
        postgresql_where=sa.text(TAKEN),
    )
