"""Persons, keys and the log of acts; who made and confirmed a batch; the time in which it can be taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.tables.base import BigId, UTCDateTime

revision = "0009"
down_revision = "0008"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
CHANNELS = ("page", "api", "command", "scheduler", "customs")


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("id", BigId, nullable=False),
        sa.Column("login", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("roles", JSON, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("disabled_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("login", name=op.f("uq_person_login")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", BigId, nullable=False),
        sa.Column("public", sa.String(16), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("person_id", BigId, nullable=False),
        sa.Column("note", sa.String(64), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=True),
        sa.Column("revoked_at", UTCDateTime(), nullable=True),
        sa.Column("last_used_at", UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_api_key_person_id")),
        sa.UniqueConstraint("public", name=op.f("uq_api_key_public")),
    )
    op.create_index(op.f("ix_api_key_person_id"), "api_key", ["person_id"])
    op.create_table(
        "act",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column(
            "channel",
            sa.Enum(
                *CHANNELS, name="channel", native_enum=False, create_constraint=True, length=20
            ),
            nullable=False,
        ),
        sa.Column("person_id", BigId, nullable=True),
        sa.Column("deed", sa.String(32), nullable=False),
        sa.Column("about", sa.String(200), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_act")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_act_person_id")),
    )
    for name, kind in (
        ("made_by", sa.String(64)),
        ("made_via", sa.String(16)),
        ("made_by_id", BigId),
        ("confirmed_by", sa.String(64)),
        ("confirmed_via", sa.String(16)),
        ("confirmed_by_id", BigId),
        ("grace_until", UTCDateTime()),
    ):
        op.add_column("batch", sa.Column(name, kind, nullable=True))
    op.add_column(
        "batch", sa.Column("at_once", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    for name in ("grace_verify_minutes", "grace_void_minutes"):
        op.add_column(
            "deployment", sa.Column(name, sa.Integer(), nullable=False, server_default="0")
        )
