"""Whose deployment this is and which customs it speaks to; the sender of a message; the line; the card.

The table `card` holds nothing but what the submitter saw last, so it is made anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.tables.base import BigId, UTCDateTime

revision = "0005"
down_revision = "0004"

CARD_STATES = ("ready", "absent", "pin_refused", "unfit")


def upgrade() -> None:
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(18), nullable=False),
        sa.Column("customs", sa.String(255), nullable=False),
        sa.Column("known_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_deployment_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.add_column("submission", sa.Column("sender", sa.String(18), nullable=True))
    op.add_column("submission", sa.Column("signed_with", sa.String(64), nullable=True))
    op.add_column("customs_link", sa.Column("closed_code", sa.String(32), nullable=True))
    op.add_column("customs_link", sa.Column("probe_id", BigId, nullable=True))
    op.add_column(
        "customs_link", sa.Column("card_refusals", sa.Integer(), nullable=False, server_default="0")
    )
    op.drop_table("card")
    op.create_table(
        "card",
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                *CARD_STATES, name="cardstate", native_enum=False, create_constraint=True, length=20
            ),
            nullable=False,
        ),
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("detail", sa.String(255), nullable=False),
        sa.Column("certificate_serial", sa.String(64), nullable=False),
        sa.Column("not_after", UTCDateTime(), nullable=True),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.Column("examine_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_card")),
    )
