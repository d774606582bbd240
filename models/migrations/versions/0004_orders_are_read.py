"""A sheet's reading, its questions and answers; layouts remembered; pages of certificates since when.

Two enumerations get a member: batch states `asked`, classes of differences `more_than_pages`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.tables.base import UTCDateTime

revision = "0004"
down_revision = "0003"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
WIDENED = (
    ("batch", "batchstate", "state", "'unreadable'", "'asked'"),
    ("difference", "differenceclass", "kind", "'unaccounted'", "'more_than_pages'"),
)


def upgrade() -> None:
    op.create_table(
        "layout",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("header", sa.String(4000), nullable=False),
        sa.Column("meanings", JSON, nullable=False),
        sa.Column("used_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_layout")),
    )
    for name, length in (
        ("reading_key", 64),
        ("order_key", 64),
        ("again_reason", 200),
        ("beyond_reason", 200),
    ):
        op.add_column("batch", sa.Column(name, sa.String(length), nullable=True))
    for name, empty in (("answers", "{}"), ("reading", "{}"), ("questions", "[]")):
        op.add_column("batch", sa.Column(name, JSON, nullable=False, server_default=empty))
    op.add_column("certificate", sa.Column("pages_at", UTCDateTime(), nullable=True))
    now = sa.bindparam("now", datetime.now(UTC), UTCDateTime())
    op.get_bind().execute(
        sa.text("UPDATE certificate SET pages_at = :now WHERE pages IS NOT NULL").bindparams(now)
    )
    op.create_index("ix_batch_reading_key", "batch", ["reading_key"])
    for table, constraint, column, after, added in WIDENED:
        _widen(table, constraint, column, after, added)


def _widen(table: str, constraint: str, column: str, after: str, added: str) -> None:
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        name = f"ck_{table}_{constraint}"
        found = bind.execute(
            sa.text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name"),
            {"name": name},
        ).scalar_one()
        kept = sorted({part.split("'")[0] for part in found.split("ARRAY[")[1].split("'")[1::2]})
        members = ", ".join(f"'{member}'" for member in (*kept, added.strip("'")))
        op.drop_constraint(op.f(name), table, type_="check")
        op.create_check_constraint(op.f(name), table, f"{column} IN ({members})")
        return
    # The way of sqlite.org/lang_altertable.html for a CHECK: the table keeps its place, and what refers to it.
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    bind.exec_driver_sql("PRAGMA writable_schema=ON")
    changed = bind.execute(
        sa.text(
            "UPDATE sqlite_schema SET sql = replace(sql, :after, :after || ', ' || :added)"
            " WHERE type = 'table' AND name = :name AND sql LIKE '%' || :after || '%'"
        ),
        {"after": after, "added": added, "name": table},
    )
    if changed.rowcount != 1:
        raise RuntimeError(f"the check of {table}.{column} was not found")
    bind.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema=OFF")
