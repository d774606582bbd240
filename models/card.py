"""What the submitter last saw of the card, for every process that wants to say so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from models.card_errors import CardFault, PinRefused, SigningError, card_error
from models.notifications import announce
from models.states import CardState, NotificationType
from models.submissions import Card

_DETAIL_LIMIT = 255


NOT_IN_USE: Final = timedelta(minutes=3)
"""A card whose examination is overdue for so long is looked at by nobody: another is in its place."""


def not_in_use(now: datetime) -> ColumnElement[bool]:
    """Cards that no submitter looks at any more."""
    return Card.examine_at < now - NOT_IN_USE


def card_state(trouble: SigningError | None) -> CardState:
    """What a trouble says of the card."""
    match trouble:
        case None:
            return CardState.READY
        case PinRefused():
            return CardState.PIN_REFUSED
        case CardFault():
            return CardState.UNFIT
        case _:
            return CardState.ABSENT


def note_card(
    session: Session, label: str, trouble: SigningError | None, at: datetime, examine_at: datetime
) -> Card:
    """Remember the card's state; announce once that it has become unavailable.

    Cards that nobody looks at any more are forgotten: their faults are mended, or are another's.
    """
    session.execute(
        delete(Card)
        .where(Card.label != label, not_in_use(at))
        .execution_options(synchronize_session=False)
    )
    state = card_state(trouble)
    code = trouble.code if trouble else ""
    detail = str(trouble.values.get("detail", ""))[:_DETAIL_LIMIT] if trouble else ""
    card = session.get(Card, label)
    was_ready = card is None or card.state is CardState.READY
    if card is None:
        card = Card(label=label, certificate_serial="")
    card.state, card.code, card.detail = state, code, detail
    card.seen_at, card.examine_at = at, examine_at
    session.add(card)
    if was_ready and state is not CardState.READY:
        told = {"card": label, "state": state.value, "code": code, "detail": detail}
        announce(session, NotificationType.CARD_UNAVAILABLE, told, at)
    return card


def seen_cards(session: Session) -> list[Card]:
    """Every card that was ever seen."""
    return list(session.scalars(select(Card).order_by(Card.label)))


def trouble_of(card: Card) -> SigningError | None:
    """What is wrong with a card that was seen, to be said in the reader's language."""
    return card_error(card.code, card.detail) if card.code else None
