"""Messages leave by turns, a claim to send has a number, a card claims what it signs, and what is shown is
kept instead of counted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.tables.base import BigId, UTCDateTime

revision = "0007"
down_revision = "0006"

USED = "('verify_submitted', 'verified', 'void_submitted', 'voided')"
FORM_STATES = "('issued', 'reserved', 'verify_submitted', 'verified', 'void_submitted', 'voided')"
UNCONFIRMED = "state IN ('received', 'unreadable', 'asked', 'checked')"
LEAVES = "state IN ('prepared', 'signed')"
TAKEN = "state = 'taken'"
LEFT = "state IN ('sending', 'in_doubt', 'parked')"


def upgrade() -> None:
    op.add_column(
        "submission", sa.Column("turn", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.execute(  # the lease of a sending that has ended; from now on it would keep others away
        "UPDATE submission SET lease_until = NULL WHERE state IN ('prepared', 'signed')"
    )
    op.add_column("batch", sa.Column("lease", sa.String(120), nullable=True))
    op.add_column("batch", sa.Column("lease_until", UTCDateTime(), nullable=True))
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
    for name, table, columns, where in (
        ("ix_batch_unconfirmed", "batch", ["created_at", "state"], UNCONFIRMED),
        ("ix_delivery_failed", "delivery", ["id"], "state = 'failed'"),
        ("ix_discrepancy_open", "discrepancy", ["id"], "closed_at IS NULL"),
    ):
        op.create_index(
            name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
        )
    op.create_index("ix_form_event_at", "form_event", ["at"])
    _numbers()
    _used_forms()


def _used_forms() -> None:
    serial = sa.String(12, collation="C") if _is_postgres() else sa.String(12)
    op.create_table(
        "used_form",
        sa.Column("form_id", BigId, nullable=False),
        sa.Column("serial", serial, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("self_handled", sa.Boolean(), nullable=False),
        sa.CheckConstraint(f"state IN {FORM_STATES}", name=op.f("ck_used_form_formstate")),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_used_form_form_id_form")),
        sa.PrimaryKeyConstraint("form_id", name=op.f("pk_used_form")),
    )
    op.execute(
        "INSERT INTO used_form (form_id, serial, state, self_handled) SELECT f.id, f.serial, f.state,"
        " COALESCE(c.exporter = c.agent, false) FROM form f LEFT JOIN certificate c"
        f" ON c.number = f.certificate WHERE f.state IN {USED}"
    )
    op.create_index(
        "ix_used_form_self_handled_state_serial_form_id",
        "used_form",
        ["self_handled", "state", "serial", "form_id"],
    )


def _is_postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _numbers() -> None:
    """What is there is counted once; from now on what changes is noted (`models.writes.tallies`)."""
    postgres = _is_postgres()
    key = sa.String(64, collation="C") if postgres else sa.String(64)
    op.create_table(
        "tally",
        sa.Column("key", key, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_tally")),
    )
    op.create_table(
        "tally_change",
        sa.Column("id", BigId, nullable=False),
        sa.Column("key", key, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tally_change")),
    )
    standings = (
        "SELECT stock_id, block_id, CASE"
        " WHEN state = 'issued' AND lost_at IS NOT NULL THEN 'lost'"
        " WHEN state = 'issued' AND hold IS NOT NULL THEN 'held'"
        " WHEN state = 'issued' THEN 'on_hand' ELSE state END AS standing FROM form"
    )
    op.execute(
        "INSERT INTO tally (key, amount) SELECT 'stock:' || stock_id || ':' || block_id || ':' || standing,"
        f" COUNT(*) FROM ({standings}) AS standings GROUP BY stock_id, block_id, standing"
    )
    if postgres:
        day = "to_char(e.at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD')"
        issued = "to_char(b.issued_on, 'YYYY-MM-DD')"
    else:
        day, issued = "date(e.at, '+8 hours')", "b.issued_on"
    received = "CASE WHEN e.from_state IS NULL THEN 'received' END"
    moved = (
        "CASE WHEN e.from_state IS NULL THEN 'entered' WHEN e.cause = 'lost' THEN 'lost'"
        " WHEN e.to_state IN ('verified', 'voided') AND e.from_state <> e.to_state THEN e.to_state"
        " WHEN e.to_state = 'issued' AND e.from_state IN ('verify_submitted', 'void_submitted')"
        " THEN 'refused' END"
    )
    for when, what in ((f"COALESCE({issued}, {day})", received), (day, moved)):
        movements = (
            f"SELECT f.stock_id, {when} AS day, {what} AS what FROM form_event e"
            " JOIN form f ON f.id = e.form_id JOIN block b ON b.id = f.block_id"
        )
        op.execute(
            "INSERT INTO tally (key, amount) SELECT 'day:' || stock_id || ':' || day || ':' || what,"
            f" COUNT(*) FROM ({movements}) AS moved WHERE what IS NOT NULL GROUP BY stock_id, day, what"
        )
    op.execute(
        "INSERT INTO tally (key, amount) SELECT 'batch:' || i.batch_id || ':' || f.state, COUNT(*)"
        " FROM batch b JOIN item i ON i.batch_id = b.id AND i.state IN ('held', 'decided')"
        " JOIN form f ON f.id = i.form_id WHERE b.state = 'working' GROUP BY i.batch_id, f.state"
    )
