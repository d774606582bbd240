"""What the submitter last saw of the card, for every process that wants to say so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.notifications import announce
from models.states import CardState, NotificationType
from models.submissions import Card

_DETAIL_LIMIT = 255


def note_card(
    session: Session,
    label: str,
    state: CardState,
    detail: str,
    at: datetime,
    not_after: datetime | None = None,
) -> None:
    """Remember the card's state; announce once that it has become unavailable."""
    card = session.get(Card, label)
    was_ready = card is None or card.state is CardState.READY
    if card is None:
        card = Card(label=label, state=state, seen_at=at)
        session.add(card)
    if was_ready and state is not CardState.READY:
        told = {"card": label, "state": state.value, "detail": detail[:_DETAIL_LIMIT]}
        announce(session, NotificationType.CARD_UNAVAILABLE, told, at)
    if not_after is not None:
        card.not_after = not_after
    card.state, card.detail, card.seen_at = state, detail[:_DETAIL_LIMIT], at


def seen_cards(session: Session) -> list[Card]:
    """Every card that was ever seen."""
    return list(session.scalars(select(Card).order_by(Card.label)))
