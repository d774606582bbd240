"""What the submitter last saw of the card, for every process that wants to say so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.states import CardState
from models.submissions import Card

_DETAIL_LIMIT = 255


def note_card(session: Session, label: str, state: CardState, detail: str, at: datetime) -> None:
    """Remember the card's state."""
    card = session.get(Card, label)
    if card is None:
        card = Card(label=label, state=state, seen_at=at)
        session.add(card)
    card.state, card.detail, card.seen_at = state, detail[:_DETAIL_LIMIT], at


def seen_cards(session: Session) -> list[Card]:
    """Every card that was ever seen."""
    return list(session.scalars(select(Card).order_by(Card.label)))
