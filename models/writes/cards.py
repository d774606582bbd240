"""The submitter notes how the card is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from models.reads.cards import not_in_use
from models.rules.card_errors import CardFault, PinRefused, SigningError
from models.rules.states import CardState, NotificationType
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import insert_new
from models.tables.card import Card
from models.writes.announcements import announce

_DETAIL_LIMIT = 255


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
    session.execute(delete(Card).where(Card.label != label, not_in_use(at)))
    state = card_state(trouble)
    code = trouble.code if trouble else ""
    detail = str(trouble.values.get("detail", ""))[:_DETAIL_LIMIT] if trouble else ""
    card = _card(session, label, at)
    was_ready = card.state is CardState.READY
    card.state, card.code, card.detail = state, code, detail
    card.seen_at, card.examine_at = at, examine_at
    if was_ready and state is not CardState.READY:
        told = {"card": label, "state": state.value, "code": code, "detail": detail}
        announce(session, NotificationType.CARD_UNAVAILABLE, told, at)
    return card


def _card(session: Session, label: str, at: datetime) -> Card:
    """The row of this card, locked; made as a ready one's when there is none, by one process alone."""
    empty = dict.fromkeys(("code", "detail", "certificate_serial"), "")
    new = {"label": label, "state": CardState.READY, "seen_at": at, "examine_at": at, **empty}
    insert_new(session, Card, [new])
    return session.get_one(Card, label, populate_existing=True, with_for_update=NO_KEY_UPDATE)
