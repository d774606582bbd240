"""All tables of the first release.

A migration must leave the version of the code before it working: add first, remove in a later
release. Locks are short: no rewriting of a large table in one statement.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.tables.base import UTCDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "batch",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "received",
                "unreadable",
                "checked",
                "confirmed",
                "working",
                "finished",
                "cancelled",
                name="batchstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("file_name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("sheet", sa.String(length=64), nullable=False),
        sa.Column(
            "header", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "columns", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("header_row", sa.Integer(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("blank_count", sa.Integer(), nullable=False),
        sa.Column("plan", sa.String(length=16), nullable=True),
        sa.Column("expected_plan", sa.String(length=16), nullable=True),
        sa.Column("all_or_nothing", sa.Boolean(), nullable=False),
        sa.Column("confirmed_content", sa.String(length=64), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("checked_at", UTCDateTime(), nullable=True),
        sa.Column("confirmed_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("reported_at", UTCDateTime(), nullable=True),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("confirmed_content", name=op.f("uq_batch_confirmed_content")),
    )
    with op.batch_alter_table("batch", schema=None) as batch_op:
        batch_op.create_index(
            "ix_batch_open",
            ["state"],
            unique=False,
            sqlite_where=sa.text("state IN ('confirmed', 'working')"),
            postgresql_where=sa.text("state IN ('confirmed', 'working')"),
        )
        batch_op.create_index(batch_op.f("ix_batch_sha256"), ["sha256"], unique=False)
        batch_op.create_index(
            "ix_batch_unreported",
            ["id"],
            unique=False,
            sqlite_where=sa.text("state IN ('finished', 'cancelled') AND reported_at IS NULL"),
            postgresql_where=sa.text("state IN ('finished', 'cancelled') AND reported_at IS NULL"),
        )

    op.create_table(
        "card",
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "ready",
                "absent",
                "pin_refused",
                name="cardstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("detail", sa.String(length=255), nullable=False),
        sa.Column("certificate_serial", sa.String(length=64), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=True),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_card")),
    )
    op.create_table(
        "certificate",
        sa.Column("number", sa.String(length=20), nullable=False),
        sa.Column("type", sa.String(length=2), nullable=False),
        sa.Column("exporter", sa.String(length=18), nullable=False),
        sa.Column("agent", sa.String(length=18), nullable=False),
        sa.Column("approved_on", sa.Date(), nullable=True),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_certificate")),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_agent"), ["agent"], unique=False)
        batch_op.create_index(batch_op.f("ix_certificate_exporter"), ["exporter"], unique=False)

    op.create_table(
        "customs_link",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("cursor", sa.String(length=255), nullable=False),
        sa.Column("poll_at", UTCDateTime(), nullable=False),
        sa.Column("closed_until", UTCDateTime(), nullable=True),
        sa.Column("closed_reason", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_customs_link")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=320), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("receipt_id", sa.String(length=255), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", UTCDateTime(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "received",
                "applied",
                "quarantined",
                "kept",
                name="inboxstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("submission_number", sa.String(length=32), nullable=True),
        sa.Column("applied_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("key", name=op.f("uq_inbox_key")),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inbox_receipt_id"), ["receipt_id"], unique=False)
        batch_op.create_index(
            "ix_inbox_received",
            ["id"],
            unique=False,
            sqlite_where=sa.text("state = 'received'"),
            postgresql_where=sa.text("state = 'received'"),
        )

    op.create_table(
        "stock",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("owner", sa.String(length=18), nullable=False),
        sa.Column("form_type", sa.String(length=2), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock")),
        sa.UniqueConstraint("owner", "form_type", name=op.f("uq_stock_owner_form_type")),
    )
    op.create_table(
        "upload",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_upload")),
    )
    op.create_table(
        "batch_row",
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "ok",
                "problem",
                "skipped",
                name="rowstatus",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("certificate", sa.String(length=20), nullable=False),
        sa.Column(
            "action",
            sa.Enum(
                "verify",
                "void",
                name="action",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=True,
        ),
        sa.Column(
            "stock_source",
            sa.Enum(
                "exporter",
                "agent",
                name="stocksource",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=True,
        ),
        sa.Column("page_count", sa.Integer(), nullable=True),
        sa.Column(
            "pages_mode",
            sa.Enum(
                "additional",
                "top_up",
                name="pagesmode",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason_code", sa.String(length=2), nullable=True),
        sa.Column("reason_text", sa.String(length=150), nullable=True),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column(
            "cells", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column(
            "read_problems",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "problems", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_batch_row_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", "number", name=op.f("pk_batch_row")),
    )
    op.create_table(
        "block",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("stock_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "first_serial",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "last_serial",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("form_count", sa.Integer(), nullable=False),
        sa.Column(
            "lowest_free",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("issued_on", sa.Date(), nullable=True),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["stock_id"], ["stock.id"], name=op.f("fk_block_stock_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_block")),
    )
    with op.batch_alter_table("block", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_block_stock_id_first_serial"), ["stock_id", "first_serial"], unique=False
        )

    op.create_table(
        "submission",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("guid", sa.String(length=36), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("certificate", sa.String(length=20), nullable=False),
        sa.Column("certificate_type", sa.String(length=2), nullable=False),
        sa.Column("exporter", sa.String(length=18), nullable=False),
        sa.Column("agent", sa.String(length=18), nullable=False),
        sa.Column("stock_owner", sa.String(length=18), nullable=False),
        sa.Column(
            "action",
            sa.Enum(
                "verify",
                "void",
                name="action",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("reason_code", sa.String(length=2), nullable=True),
        sa.Column("reason_text", sa.String(length=150), nullable=True),
        sa.Column("form_count", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "prepared",
                "signed",
                "sending",
                "in_doubt",
                "taken",
                "parked",
                "decided",
                "refused",
                "cancelled",
                name="submissionstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("payload_sha256", sa.String(length=64), nullable=True),
        sa.Column("signed_at", UTCDateTime(), nullable=True),
        sa.Column("send_count", sa.Integer(), nullable=False),
        sa.Column("ask_count", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UTCDateTime(), nullable=True),
        sa.Column("lease_until", UTCDateTime(), nullable=True),
        sa.Column("seq_no", sa.String(length=18), nullable=True),
        sa.Column("taken_at", UTCDateTime(), nullable=True),
        sa.Column("decided_at", UTCDateTime(), nullable=True),
        sa.Column("deal_flag", sa.String(length=8), nullable=True),
        sa.Column("deal_text", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_submission_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
        sa.UniqueConstraint("number", name=op.f("uq_submission_number")),
        postgresql_with={"fillfactor": 70},
    )
    with op.batch_alter_table("submission", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_submission_batch_id"), ["batch_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_submission_certificate"), ["certificate"], unique=False
        )
        batch_op.create_index(
            "ix_submission_due",
            ["state", "next_attempt_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('prepared', 'signed', 'sending', 'in_doubt')"),
            postgresql_where=sa.text("state IN ('prepared', 'signed', 'sending', 'in_doubt')"),
        )

    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "kind",
            sa.Enum(
                "send",
                "ask",
                name="attemptkind",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("started_at", UTCDateTime(), nullable=False),
        sa.Column("deadline_at", UTCDateTime(), nullable=False),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("detail", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submission.id"], name=op.f("fk_attempt_submission_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint(
            "submission_id", "kind", "number", name=op.f("uq_attempt_submission_id_kind_number")
        ),
    )
    op.create_table(
        "form",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "serial",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("form_type", sa.String(length=2), nullable=False),
        sa.Column("stock_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("block_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "issued",
                "reserved",
                "verify_submitted",
                "verified",
                "void_submitted",
                "voided",
                name="formstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("certificate", sa.String(length=20), nullable=True),
        sa.Column("hold", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["block_id"], ["block.id"], name=op.f("fk_form_block_id")),
        sa.ForeignKeyConstraint(["stock_id"], ["stock.id"], name=op.f("fk_form_stock_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_form")),
        sa.UniqueConstraint("serial", "form_type", name=op.f("uq_form_serial_form_type")),
        postgresql_with={"fillfactor": 70},
    )
    with op.batch_alter_table("form", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_form_block_id_serial"), ["block_id", "serial"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_form_certificate"), ["certificate"], unique=False)

    op.create_table(
        "discrepancy",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("form_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "serial",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("inbox_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.Column("raised_at", UTCDateTime(), nullable=False),
        sa.Column("closed_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_discrepancy_form_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discrepancy")),
    )
    with op.batch_alter_table("discrepancy", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_discrepancy_form_id"), ["form_id"], unique=False)

    op.create_table(
        "form_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("form_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("from_state", sa.String(length=20), nullable=True),
        sa.Column("to_state", sa.String(length=20), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("certificate", sa.String(length=20), nullable=True),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("inbox_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("reason", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_form_event_form_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_form_event")),
    )
    with op.batch_alter_table("form_event", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_form_event_form_id_id"), ["form_id", "id"], unique=False
        )

    op.create_table(
        "item",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column(
            "serial",
            sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column(
            "action",
            sa.Enum(
                "verify",
                "void",
                name="action",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("certificate", sa.String(length=20), nullable=False),
        sa.Column("named", sa.Boolean(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "planned",
                "held",
                "decided",
                "refused",
                "released",
                name="itemstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("form_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("g_no", sa.Integer(), nullable=True),
        sa.Column("rep_code", sa.String(length=8), nullable=True),
        sa.Column("rep_text", sa.String(length=255), nullable=True),
        sa.Column("decided_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_item_batch_id")),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_item_form_id")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submission.id"], name=op.f("fk_item_submission_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sa.UniqueConstraint(
            "batch_id", "row_number", "position", name=op.f("uq_item_batch_id_row_number_position")
        ),
        postgresql_with={"fillfactor": 70},
    )
    with op.batch_alter_table("item", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_item_batch_id_serial"), ["batch_id", "serial"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_item_form_id"), ["form_id"], unique=False)
        batch_op.create_index(
            "ix_item_held_batch",
            ["batch_id"],
            unique=False,
            sqlite_where=sa.text("state = 'held'"),
            postgresql_where=sa.text("state = 'held'"),
        )
        batch_op.create_index(batch_op.f("ix_item_submission_id"), ["submission_id"], unique=False)
        batch_op.create_index(
            "ix_item_unprepared",
            ["batch_id", "certificate"],
            unique=False,
            sqlite_where=sa.text("state = 'held' AND submission_id IS NULL"),
            postgresql_where=sa.text("state = 'held' AND submission_id IS NULL"),
        )
        batch_op.create_index(
            "ux_item_held_form",
            ["form_id"],
            unique=True,
            sqlite_where=sa.text("state = 'held'"),
            postgresql_where=sa.text("state = 'held'"),
        )

    op.create_table(
        "receipt_line",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("inbox_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("form_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rep_code", sa.String(length=4), nullable=False),
        sa.Column("rep_text", sa.String(length=150), nullable=False),
        sa.Column("form_state", sa.String(length=1), nullable=False),
        sa.Column("managed_at", UTCDateTime(), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["form_id"], ["form.id"], name=op.f("fk_receipt_line_form_id")),
        sa.ForeignKeyConstraint(["inbox_id"], ["inbox.id"], name=op.f("fk_receipt_line_inbox_id")),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_receipt_line_item_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_line")),
    )
    with op.batch_alter_table("receipt_line", schema=None) as batch_op:
        batch_op.create_index(
            "ix_receipt_line_ask",
            ["id"],
            unique=False,
            sqlite_where=sa.text("open AND verdict = 'ask'"),
            postgresql_where=sa.text("open AND verdict = 'ask'"),
        )
        batch_op.create_index(batch_op.f("ix_receipt_line_form_id"), ["form_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_receipt_line_inbox_id"), ["inbox_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_receipt_line_item_id"), ["item_id"], unique=False)
