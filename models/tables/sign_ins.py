"""Who is signed in at the pages, and wrong tries to sign in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, Id, UTCDateTime, When


class SignIn(Base):
    """A sign-in of a person in one browser. Its token is random; only a hash is kept."""

    __tablename__ = "sign_in"

    id: Mapped[Id]
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    begun_at: Mapped[When]
    seen_at: Mapped[When]
    """When the person last did something; a page that refreshes itself does not count."""
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    by_password: Mapped[bool] = mapped_column(default=True)
    """False: the provider of the house has proved who it is."""
    address: Mapped[str] = mapped_column(String(45), default="")
    agent: Mapped[str] = mapped_column(String(100), default="")
    """What the browser calls itself, for the person to tell it from another."""

    __table_args__ = (Index(None, "person_id"), Index(None, "begun_at"))


class WrongTry(Base):
    """Tries to sign in that were wrong, by login and by address."""

    __tablename__ = "wrong_try"

    what: Mapped[str] = mapped_column(String(80), primary_key=True)
    """`login:` and a hash of what was typed, which may be a password in the wrong field; `address:` and it."""
    tries: Mapped[int] = mapped_column(default=0)
    until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """Before this nobody may try."""
    last_at: Mapped[When] = mapped_column(index=True)
