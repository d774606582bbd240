"""What is under way is called so (`held` is a form on hold alone), and codes of customs may be longer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

RENAMED = (("held", "under_way"), ("released", "given_back"))
STATES = ("planned", "under_way", "decided", "refused", "given_back")
WIDENED = (("item", 8, True), ("receipt_line", 4, False))
UNDER_WAY = "state = 'under_way'"
UNPREPARED = "state = 'under_way' AND submission_id IS NULL"


def upgrade() -> None:
    for name in ("ux_item_held_form", "ix_item_held_batch", "ix_item_unprepared"):
        op.drop_index(name, table_name="item")
    if op.get_bind().dialect.name == "postgresql":
        check = op.f("ck_item_itemstate")
        op.drop_constraint(check, "item", type_="check")
        _rename()
        members = ", ".join(f"'{state}'" for state in STATES)
        op.create_check_constraint(check, "item", f"state IN ({members})")
        for table, length, nullable in WIDENED:
            op.alter_column(
                table,
                "rep_code",
                existing_type=sa.String(length),
                type_=sa.String(40),
                existing_nullable=nullable,
            )
    else:
        _rewrite_schema()
        _rename()
    for name, columns, unique, where in (
        ("ux_item_under_way_form", ["form_id"], True, UNDER_WAY),
        ("ix_item_under_way_batch", ["batch_id", "form_id"], False, UNDER_WAY),
        ("ix_item_unprepared", ["batch_id", "certificate"], False, UNPREPARED),
    ):
        op.create_index(
            name,
            "item",
            columns,
            unique=unique,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )


def _rename() -> None:
    for old, new in RENAMED:
        op.execute(f"UPDATE item SET state = '{new}' WHERE state = '{old}'")


def _rewrite_schema() -> None:
    """The way of sqlite.org/lang_altertable.html for a CHECK: the tables keep their place, and what refers to them."""
    bind = op.get_bind()
    version = bind.exec_driver_sql("PRAGMA schema_version").scalar_one()
    bind.exec_driver_sql("PRAGMA writable_schema=ON")
    changes = [("item", f"'{old}'", f"'{new}'") for old, new in RENAMED]
    changes += [(t, f"rep_code VARCHAR({n})", "rep_code VARCHAR(40)") for t, n, _ in WIDENED]
    for table, old, new in changes:
        changed = bind.execute(
            sa.text(
                "UPDATE sqlite_schema SET sql = replace(sql, :old, :new)"
                " WHERE type = 'table' AND name = :name AND instr(sql, :old) > 0"
            ),
            {"old": old, "new": new, "name": table},
        )
        if changed.rowcount != 1:
            raise RuntimeError(f"{old} was not found in {table}")
    bind.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    bind.exec_driver_sql("PRAGMA writable_schema=OFF")
