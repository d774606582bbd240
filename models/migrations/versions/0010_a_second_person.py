"""What waits for a second person, and the rules that ask for one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.tables.base import BigId, UTCDateTime

revision = "0010"
down_revision = "0009"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
STATES = ("waiting", "endorsed", "rejected", "expired", "moved", "withdrawn")
BATCH_STATES = (
    *("received", "unreadable", "asked", "checked", "awaiting", "confirmed"),
    *("working", "finished", "cancelled"),
)
WAITING = "state = 'waiting'"


def upgrade() -> None:
    op.create_table(
        "endorsement",
        sa.Column("id", BigId, nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                *STATES,
                name="endorsementstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("batch_id", BigId, nullable=True),
        sa.Column("plan", sa.String(16), nullable=True),
        sa.Column("proposal", JSON, nullable=True),
        sa.Column("rules", JSON, nullable=False),
        sa.Column("asked_by_id", BigId, nullable=False),
        sa.Column("asked_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("decided_by_id", BigId, nullable=True),
        sa.Column("decided_at", UTCDateTime(), nullable=True),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.CheckConstraint("decided_by_id <> asked_by_id", name=op.f("ck_endorsement_two_persons")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endorsement")),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_endorsement_batch_id")),
        sa.ForeignKeyConstraint(
            ["asked_by_id"], ["person.id"], name=op.f("fk_endorsement_asked_by_id")
        ),
        sa.ForeignKeyConstraint(
            ["decided_by_id"], ["person.id"], name=op.f("fk_endorsement_decided_by_id")
        ),
    )
    op.create_index(op.f("ix_endorsement_batch_id"), "endorsement", ["batch_id"])
    op.create_index(
        "ix_endorsement_waiting",
        "endorsement",
        ["expires_at"],
        sqlite_where=sa.text(WAITING),
        postgresql_where=sa.text(WAITING),
    )
    op.create_index(
        "ux_endorsement_waiting_batch",
        "endorsement",
        ["batch_id"],
        unique=True,
        sqlite_where=sa.text(WAITING),
        postgresql_where=sa.text(WAITING),
    )
    op.create_table(
        "rules_version",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rules", JSON, nullable=False),
        sa.Column("set_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rules_version")),
    )
    op.add_column(
        "batch", sa.Column("void_count", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "batch", sa.Column("needs_second", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("batch", sa.Column("redo_of", BigId, nullable=True))
    op.create_index(
        op.f("ix_batch_confirmed_by_id_confirmed_at"), "batch", ["confirmed_by_id", "confirmed_at"]
    )
    op.create_index(
        "ix_batch_sheet",
        "batch",
        ["sha256", "sheet"],
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
    _widen_batch_state()


def _widen_batch_state() -> None:
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        check = op.f("ck_batch_batchstate")
        members = ", ".join(f"'{state}'" for state in BATCH_STATES)
        op.drop_constraint(check, "batch", type_="check")
        op.create_check_constraint(check, "batch", f"state IN ({members})")
        return
    # The way of sqlite.org/lang_altertable.html for a CHECK: the table keeps its place, and what refers to it.
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    bind.exec_driver_sql("PRAGMA writable_schema=ON")
    changed = bind.execute(
        sa.text(
            "UPDATE sqlite_schema SET sql = replace(sql, '''checked'',', '''checked'', ''awaiting'',')"
            " WHERE type = 'table' AND name = 'batch' AND instr(sql, '''checked'',') > 0"
        )
    )
    if changed.rowcount != 1:
        raise RuntimeError("the check of batch.state was not found")
    bind.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema=OFF")
