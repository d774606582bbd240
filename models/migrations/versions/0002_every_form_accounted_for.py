"""Reconciliation, notifications, trust in the stock: runs, endpoints, holds, the chain of events.

Stop the processes of the version before first: events that it would still write had no place in the chain.
The chain of the events that are there already is written chunk by chunk.
"""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.rules.chain import GENESIS, EventFacts, event_hash
from models.tables.base import UTCDateTime

revision = "0002"
down_revision = "0001"

FORMS_TOGETHER = 2000

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SERIAL = sa.String(length=12).with_variant(sa.String(length=12, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "endpoint",
        sa.Column("id", BIG, nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(length=255), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("overlap_until", UTCDateTime(), nullable=True),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("key_mark", sa.String(length=16), nullable=False),
        sa.Column("failure_count", sa.Integer(), nullable=False),
        sa.Column("paused_until", UTCDateTime(), nullable=True),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint")),
    )
    op.create_table(
        "notification",
        sa.Column("id", BIG, nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("batch_id", BIG, nullable=True),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sa.UniqueConstraint("key", name=op.f("uq_notification_key")),
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", BIG, nullable=False),
        sa.Column("business_date", sa.Date(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "planned",
                "comparing",
                "finished",
                name="runstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("due_at", UTCDateTime(), nullable=False),
        sa.Column("lease_until", UTCDateTime(), nullable=True),
        sa.Column("lease", sa.String(length=120), nullable=True),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=18), nullable=False),
        sa.Column("after", SERIAL, nullable=False),
        sa.Column("ours", sa.Integer(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("moving", sa.Integer(), nullable=False),
        sa.Column("before_us", sa.Integer(), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("anchor", sa.String(length=64), nullable=True),
        sa.Column("anchor_place", sa.String(length=300), nullable=True),
        sa.Column("started_at", UTCDateTime(), nullable=True),
        sa.Column("finished_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation")),
        sa.UniqueConstraint("business_date", name=op.f("uq_reconciliation_business_date")),
    )
    op.create_index(
        "ix_reconciliation_open",
        "reconciliation",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('planned', 'comparing')"),
        postgresql_where=sa.text("state IN ('planned', 'comparing')"),
    )

    op.create_table(
        "delivery",
        sa.Column("id", BIG, nullable=False),
        sa.Column("endpoint_id", BIG, nullable=False),
        sa.Column("notification_id", BIG, nullable=False),
        sa.Column("batch_id", BIG, nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "delivered",
                "failed",
                name="deliverystate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UTCDateTime(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_detail", sa.String(length=255), nullable=True),
        sa.Column("last_attempt_at", UTCDateTime(), nullable=True),
        sa.Column("delivered_at", UTCDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name=op.f("fk_delivery_endpoint_id")
        ),
        sa.ForeignKeyConstraint(
            ["notification_id"], ["notification.id"], name=op.f("fk_delivery_notification_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "endpoint_id", "notification_id", name=op.f("uq_delivery_endpoint_id_notification_id")
        ),
    )
    op.create_index(
        "ix_delivery_order",
        "delivery",
        ["endpoint_id", "batch_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_delivery_pending",
        "delivery",
        ["endpoint_id", "next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )

    op.create_table(
        "difference",
        sa.Column("id", BIG, nullable=False),
        sa.Column("run_id", BIG, nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "lagging",
                "outside",
                "contradiction",
                "new_stock",
                "unknown_at_customs",
                "no_answer",
                "reservation_expired",
                "unmatched_receipt",
                "printed_not_verified",
                "unaccounted",
                name="differenceclass",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("owner", sa.String(length=18), nullable=False),
        sa.Column("form_type", sa.String(length=2), nullable=False),
        sa.Column("first_serial", SERIAL, nullable=True),
        sa.Column("last_serial", SERIAL, nullable=True),
        sa.Column("form_count", sa.Integer(), nullable=False),
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
            nullable=True,
        ),
        sa.Column("certificate", sa.String(length=20), nullable=True),
        sa.Column("customs_state", sa.String(length=8), nullable=True),
        sa.Column("customs_certificate", sa.String(length=20), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=True),
        sa.Column("reference", BIG, nullable=True),
        sa.Column("detail", sa.String(length=400), nullable=False),
        sa.Column("since", UTCDateTime(), nullable=True),
        sa.Column("age_days", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["reconciliation.id"], name=op.f("fk_difference_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_difference")),
    )
    op.create_index(
        op.f("ix_difference_run_id_first_serial"),
        "difference",
        ["run_id", "first_serial"],
        unique=False,
    )
    op.create_index(
        op.f("ix_difference_run_id_kind_id"), "difference", ["run_id", "kind", "id"], unique=False
    )

    op.create_table(
        "past_use",
        sa.Column("serial", SERIAL, nullable=False),
        sa.Column("form_type", sa.String(length=2), nullable=False),
        sa.Column("certificate", sa.String(length=20), nullable=False),
        sa.Column("customs_state", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("serial", "form_type", name=op.f("pk_past_use")),
    )
    op.create_index(op.f("ix_past_use_certificate"), "past_use", ["certificate"], unique=False)
    op.create_table(
        "repair",
        sa.Column("difference_id", BIG, nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "proposed",
                "done",
                "settled",
                "left",
                name="repairstate",
                native_enum=False,
                create_constraint=True,
                length=20,
            ),
            nullable=False,
        ),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("approved_by", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=400), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["difference_id"], ["difference.id"], name=op.f("fk_repair_difference_id")
        ),
        sa.PrimaryKeyConstraint("difference_id", name=op.f("pk_repair")),
    )
    op.add_column("form", sa.Column("lost_at", UTCDateTime(), nullable=True))
    op.add_column(
        "form", sa.Column("outside", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "form", sa.Column("event_count", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "form", sa.Column("chain", sa.String(length=64), nullable=False, server_default="")
    )
    op.create_index(op.f("ix_form_stock_id_serial"), "form", ["stock_id", "serial"], unique=False)

    op.add_column(
        "form_event", sa.Column("number", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "form_event", sa.Column("hash", sa.String(length=64), nullable=False, server_default="")
    )

    op.add_column("stock", sa.Column("threshold", sa.Integer(), nullable=True))
    op.add_column(
        "stock", sa.Column("low", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("stock", sa.Column("count_at", UTCDateTime(), nullable=True))
    op.add_column("discrepancy", sa.Column("closed_by", sa.String(length=64), nullable=True))
    op.add_column("discrepancy", sa.Column("closed_reason", sa.String(length=200), nullable=True))

    _chain_what_is_there()


EVENTS = sa.table(
    "form_event",
    *(sa.column(name, sa.BigInteger) for name in ("id", "form_id", "number")),
    *(sa.column(name, sa.String) for name in ("from_state", "to_state", "cause", "certificate")),
    *(sa.column(name, sa.BigInteger) for name in ("batch_id", "submission_id", "inbox_id")),
    *(sa.column(name, sa.String) for name in ("reason", "hash")),
    sa.column("at", UTCDateTime()),
)
FORMS = sa.table(
    "form",
    *(sa.column(name, sa.BigInteger) for name in ("id", "event_count")),
    *(sa.column(name, sa.String) for name in ("serial", "form_type", "chain")),
)


def _chain_what_is_there() -> None:
    """Number and chain the events of every form that was in stock before this version."""
    connection = op.get_bind()
    last = 0
    while forms := connection.execute(
        sa.select(FORMS.c.id, FORMS.c.serial, FORMS.c.form_type)
        .where(FORMS.c.id > last)
        .order_by(FORMS.c.id)
        .limit(FORMS_TOGETHER)
    ).all():
        first, last = forms[0].id, forms[-1].id
        known = {f.id: f for f in forms}
        events = connection.execute(
            sa.select(EVENTS)
            .where(EVENTS.c.form_id.between(first, last))
            .order_by(EVENTS.c.form_id, EVENTS.c.id)
        ).all()
        linked: list[dict[str, object]] = []
        heads: list[dict[str, object]] = []
        for form_id, of_form in groupby(events, key=lambda e: e.form_id):
            before, number = GENESIS, 0
            for number, e in enumerate(of_form, start=1):
                before = event_hash(before, _facts(known[form_id], number, e))
                linked.append({"event": e.id, "count": number, "link": before})
            heads.append({"form": form_id, "count": number, "link": before})
        if linked:
            connection.execute(
                sa.update(EVENTS)
                .where(EVENTS.c.id == sa.bindparam("event"))
                .values(number=sa.bindparam("count"), hash=sa.bindparam("link")),
                linked,
            )
            connection.execute(
                sa.update(FORMS)
                .where(FORMS.c.id == sa.bindparam("form"))
                .values(event_count=sa.bindparam("count"), chain=sa.bindparam("link")),
                heads,
            )


def _facts(form: Any, number: int, event: Any) -> EventFacts:
    at: datetime = event.at
    return EventFacts(
        form.form_type,
        form.serial,
        number,
        event.from_state,
        event.to_state,
        at,
        event.cause,
        event.certificate,
        event.batch_id,
        event.submission_id,
        event.inbox_id,
        event.reason,
    )
