"""Numbers that are kept, and what has changed of them since."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, Id

Key = String(64).with_variant(String(64, collation="C"), "postgresql")


class Tally(Base):
    """A number, as of the last merge."""

    __tablename__ = "tally"

    key: Mapped[str] = mapped_column(Key, primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)


class TallyChange(Base):
    """A change of a number since then."""

    __tablename__ = "tally_change"

    id: Mapped[Id]
    key: Mapped[str] = mapped_column(Key)
    amount: Mapped[int] = mapped_column(BigInteger)
