"""Persons sign in at the pages: passwords, a second factor, sign-ins, wrong tries; and limits to principals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.tables.base import BigId, UTCDateTime

revision = "0012"
down_revision = "0011"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("person", sa.Column("password_hash", sa.String(200), nullable=True))
    op.add_column("person", sa.Column("one_time_until", UTCDateTime(), nullable=True))
    op.add_column("person", sa.Column("given_again_at", UTCDateTime(), nullable=True))
    op.add_column("person", sa.Column("given_again_by", sa.String(64), nullable=True))
    op.add_column("person", sa.Column("second_factor", sa.Integer(), nullable=True))
    op.add_column(
        "person", sa.Column("second_factor_step", BigId, nullable=False, server_default="0")
    )
    op.add_column("person", sa.Column("principals", JSON, nullable=True))
    op.add_column("batch", sa.Column("exporter", sa.String(18), nullable=True))
    op.create_index(op.f("ix_batch_exporter"), "batch", ["exporter"])
    op.create_index(op.f("ix_batch_state_id"), "batch", ["state", "id"])
    op.create_index(op.f("ix_certificate_type_number"), "certificate", ["type", "number"])
    op.create_index(op.f("ix_batch_redo_of"), "batch", ["redo_of"])
    op.create_index(op.f("ix_batch_made_by_id"), "batch", ["made_by_id"])
    op.create_table(
        "sign_in",
        sa.Column("id", BigId, nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("person_id", BigId, nullable=False),
        sa.Column("begun_at", UTCDateTime(), nullable=False),
        sa.Column("seen_at", UTCDateTime(), nullable=False),
        sa.Column("ended_at", UTCDateTime(), nullable=True),
        sa.Column("by_password", sa.Boolean(), nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("agent", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_sign_in_person_id")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_sign_in_token_sha256")),
    )
    op.create_index(op.f("ix_sign_in_person_id"), "sign_in", ["person_id"])
    op.create_index(op.f("ix_sign_in_begun_at"), "sign_in", ["begun_at"])
    op.create_table(
        "wrong_try",
        sa.Column("what", sa.String(80), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("until", UTCDateTime(), nullable=True),
        sa.Column("last_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("pk_wrong_try")),
    )
    op.create_index(op.f("ix_wrong_try_last_at"), "wrong_try", ["last_at"])
