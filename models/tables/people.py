"""Persons, the keys that they have made for programs, and the log of what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.people import Channel
from models.tables.base import Base, BigId, Id, Json, JsonDict, UTCDateTime, When, state_column


class Person(Base):
    """Somebody with a name. Never removed: the log and the orders name them."""

    __tablename__ = "person"

    id: Mapped[Id]
    login: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(64))
    roles: Mapped[list[Any]] = mapped_column(Json, default=list)
    created_at: Mapped[When]
    disabled_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    principals: Mapped[list[Any] | None] = mapped_column(Json)
    """The enterprises that the person works for, by their codes; None: all."""
    password_hash: Mapped[str | None] = mapped_column(String(200))
    """argon2id, with its parameters; None: does not sign in by a password."""
    one_time_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """The password was given by another: it is good until then, and for choosing an own one alone."""
    given_again_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    given_again_by: Mapped[str | None] = mapped_column(String(64))
    """When and by whom another password was given in place of an own one: everybody is shown it for a while."""
    second_factor: Mapped[int | None]
    """Which of the secrets that are derived for this person is in use; None: no second factor."""
    second_factor_step: Mapped[int] = mapped_column(BigId, default=0)
    """The newest code that was used: it and older ones are refused."""


class ApiKey(Base):
    """A key by which a program acts as a person. Only a hash is kept; it is random, so a fast one will do."""

    __tablename__ = "api_key"

    id: Mapped[Id]
    public: Mapped[str] = mapped_column(String(16), unique=True)
    """The part of the key that is no secret: by it the row is found."""
    secret_sha256: Mapped[str] = mapped_column(String(64))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    note: Mapped[str] = mapped_column(String(64), default="")
    scopes: Mapped[list[Any]] = mapped_column(Json, default=list)
    created_at: Mapped[When]
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime())

    __table_args__ = (Index(None, "person_id"),)


MADE_BATCH: Final = "batch"
MADE_ENDPOINT: Final = "endpoint"


class CallOnce(Base):
    """A call that a program may repeat: what it made the first time. By the owner of the key, so that a program
    that was given a new key does not order twice.
    """

    __tablename__ = "call_once"

    person_id: Mapped[int] = mapped_column(
        ForeignKey("person.id"), primary_key=True, autoincrement=False
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of what was called, so that another call under the same key is noticed."""
    made: Mapped[str] = mapped_column(String(20))
    made_id: Mapped[int] = mapped_column(BigId)
    """What it made, or made a secret for: `batch`, `endpoint`; and its number."""
    at: Mapped[When]

    __table_args__ = (Index(None, "made", "made_id"),)


class Act(Base):
    """One thing that somebody did, chained to the one before (`models.rules.acts`)."""

    __tablename__ = "act"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[When]
    actor: Mapped[str] = mapped_column(String(64))
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    person_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    deed: Mapped[str] = mapped_column(String(32))
    about: Mapped[str] = mapped_column(String(200))
    """What it was done to: a batch, serials, a person, an endpoint."""
    detail: Mapped[JsonDict] = mapped_column(Json, default=dict)
    hash: Mapped[str] = mapped_column(String(64))
