"""What the submitter last saw of the card, for every process that wants to say so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from models.rules.card_errors import SigningError, card_error
from models.tables.card import Card

NOT_IN_USE: Final = timedelta(minutes=3)
"""A card whose examination is overdue for so long is looked at by nobody: another is in its place."""


def not_in_use(now: datetime) -> ColumnElement[bool]:
    """Cards that no submitter looks at any more."""
    return Card.examine_at < now - NOT_IN_USE


def seen_cards(session: Session) -> list[Card]:
    """Every card that was ever seen."""
    return list(session.scalars(select(Card).order_by(Card.label)))


def trouble_of(card: Card) -> SigningError | None:
    """What is wrong with a card that was seen, to be said in the reader's language."""
    return card_error(card.code, card.detail) if card.code else None
