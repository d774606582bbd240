"""The line to customs as remembered: the cursor of receipts, and whether messages may leave.

Closed: nothing leaves until `closed_until`. After customs refused a message for its card, one message
leaves as a probe, and nothing else until that one is taken: `card_refusals` counts how often in a
row that went wrong, and the pauses grow with it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import case, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.reads.line import LINK, Line, _state_of_probe, line_of
from models.rules.errors import CustomsAskedToWait, DatabaseRestored, LinePaused
from models.rules.states import LineReason, LineState, SubmissionState
from models.rules.turns import Turns
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.tables.customs_link import CustomsLink

_REASON_LIMIT: Final = 255

CARD_PAUSE_FIRST: Final = timedelta(minutes=10)
CARD_PAUSE_MOST: Final = timedelta(hours=1)
"""How long nothing is sent after a refusal for the card, so that a person sees it: 10, 20, 40, 60
minutes. Each probe costs an order that is refused."""

_UNDER_WAY: Final = frozenset({SubmissionState.SENDING, SubmissionState.IN_DOUBT})
_ACCEPTED: Final = frozenset(
    {SubmissionState.TAKEN, SubmissionState.DECIDED, SubmissionState.PARKED}
)
"""Customs looks at signature and card before it looks for a duplicate (contract section 3), so a
message that is parked for one was accepted too."""


def customs_link(session: Session, now: datetime) -> CustomsLink:
    """The one row about the line to customs; made when there is none."""
    link = session.get(CustomsLink, LINK)
    if link is not None:
        return link
    try:
        with session.begin_nested():
            session.add(CustomsLink(name=LINK, cursor="", poll_at=now))
    except IntegrityError:
        session.expire_all()  # another process made it just now
    return session.get_one(CustomsLink, LINK)


def close_link(
    session: Session, now: datetime, wait: timedelta, reason: LineReason, detail: str = ""
) -> None:
    """Send nothing for a while. A pause that ends later stays: customs' own is never cut short."""
    link = customs_link(session, now)
    if link.closed_until is not None and link.closed_until >= max(now + wait, now):
        return
    link.closed_until = now + wait
    link.closed_code = reason
    link.closed_reason = detail[:_REASON_LIMIT]


def close_for_card(session: Session, now: datetime, codes: str, refused: Collection[int]) -> None:
    """Customs refused these messages for their card: nothing for a while, then one probe.

    What had begun before the first refusal was known counts as that one refusal.
    """
    link = customs_link(session, now)
    if not link.card_refusals or link.probe_id in refused:
        link.card_refusals += 1
        link.probe_id = None
    doubled = float(1 << min(link.card_refusals - 1, 8))
    close_link(
        session, now, min(CARD_PAUSE_FIRST * doubled, CARD_PAUSE_MOST), LineReason.CARD, codes
    )


def reopen(session: Session, now: datetime) -> None:
    """Messages may leave again, without a condition: what closed the line is over."""
    link = customs_link(session, now)
    link.closed_until = link.closed_code = link.closed_reason = link.probe_id = None
    link.card_refusals = 0


def open_line(session: Session, now: datetime, zone: ZoneInfo) -> Line:
    """A person has mended what closed the line: sending may go on now; gives the line as it is then.

    After refusals for the card one probe leaves first; one whose answer was lost is not waited for any
    more. Done to an open line it changes nothing. Raises
    `CustomsAskedToWait` (customs' own pause is kept), `DatabaseRestored`, and `LinePaused`: what a person
    stopped is resumed.
    """
    line = line_of(session, now)
    if line.state is LineState.CLOSED:
        if line.reason is LineReason.BUSY and line.until:
            until = f"{line.until.astimezone(zone):%Y-%m-%d %H:%M:%S}"
            raise CustomsAskedToWait(reason=line.detail, until=until)
        if line.reason is LineReason.RESTORED:
            raise DatabaseRestored
        if line.reason is LineReason.PAUSED:
            raise LinePaused(detail=line.detail)
        customs_link(session, now).closed_until = None
    link = customs_link(session, now)
    if _state_of_probe(session, link) is SubmissionState.IN_DOUBT:
        link.probe_id = None
    return line_of(session, now)


def room_on_line(session: Session, link: CustomsLink, now: datetime) -> int | None:
    """How many messages may leave now: None as many as wait, 1 the probe, 0 while it is under way.

    A probe that customs has taken ends the probing. Two senders at once: one probe.
    """
    if not link.card_refusals:
        return None
    session.refresh(link, with_for_update=NO_KEY_UPDATE)
    if link.closed_until is not None and link.closed_until > now:
        return 0  # another sender's probe was refused while we waited for the row
    if not link.card_refusals:
        return None
    state = _state_of_probe(session, link)
    if state in _ACCEPTED:
        reopen(session, now)
        return None
    return 0 if state in _UNDER_WAY else 1


def next_turns(session: Session, batch: Batch, count: int, now: datetime) -> int:
    """The first of so many turns for messages of a batch (`models.rules.turns`), which has its row locked.

    Of two batches that join at once, one waits for the other's transaction.
    """
    link = customs_link(session, now)
    line = Turns(link.served_turn, link.newest_turn, link.newcomers)
    if batch.next_turn is None:
        session.refresh(link, with_for_update=NO_KEY_UPDATE)
        line = Turns(link.served_turn, link.newest_turn, link.newcomers)
        first, line = line.join()
        link.newest_turn, link.newcomers = line.newest, line.newcomers
    else:
        first = line.go_on(batch.next_turn)
    batch.next_turn = first + count
    return first


def begin_claim(session: Session, turn: int) -> int:
    """Number the claim of messages up to this turn; gives the number. The last thing in its transaction:
    another sender waits for it from here on.
    """
    return session.execute(
        update(CustomsLink)
        .where(CustomsLink.name == LINK)
        .values(
            claim_number=CustomsLink.claim_number + 1,
            served_turn=case((CustomsLink.served_turn < turn, turn), else_=CustomsLink.served_turn),
        )
        .returning(CustomsLink.claim_number)
    ).scalar_one()
