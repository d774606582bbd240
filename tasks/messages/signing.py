"""Stage 4b, sign: the bytes of a message, signed by the card and stored once.

The only use of the card in the product; it runs in a submitter alone, one for each card. A card claims
what it signs for a moment, by turns, so that several cards share the work and nothing is signed twice; a
claim that was left behind runs out. Bytes are stored only while there are none.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Final

import structlog
from sqlalchemy import LargeBinary, bindparam, exists, or_, select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs.gateway import Message, MessageLine
from customs.signing.certificates import certificate_expiry, key_name, require_fit
from models.reads.cards import not_in_use
from models.reads.deployment import require_identity
from models.reads.line import room_to_sign
from models.rules.card_errors import SigningError
from models.rules.errors import AnotherDeployment, DatabaseRestored
from models.rules.states import ItemState, SubmissionState
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Item
from models.tables.bulk import ids_table
from models.tables.card import Card
from models.tables.forms import Form
from models.tables.submissions import WAITS_TO_LEAVE, Submission
from models.writes.cards import note_card
from models.writes.submissions import move_submissions
from tasks.app import app
from tasks.context import Context, current
from tasks.pipeline import SIGNING_LEASE, may_leave

log = structlog.get_logger(__name__)

SIGNED_TOGETHER: Final = 100
SIGNED_FIRST: Final = 8
SIGNING_SECONDS: Final = 0.75
"""Signatures are stored after so many or so long: a card of 4 a second is not kept waiting by the
database, the sender is not kept waiting by the card, and an urgent order not by those before it. How
quick the card is, is not known at first."""

RUN_SECONDS: Final = 5.0
"""A ring's work ends after that and goes on with the next ring, so that pulses get their turn."""

CARD_PAUSE: Final = timedelta(seconds=10)
"""How long to leave a card alone that could not sign."""

EXAMINED_EVERY: Final = timedelta(minutes=1)
"""A card that is pulled, expires or is exchanged is noticed after that at the latest, order or not. In a
session that is open it costs no login."""

WITHDRAWN_TOGETHER: Final = 400


@dataclass(frozen=True, slots=True)
class _Work:
    """What the card is to do next."""

    messages: Sequence[_Waiting] = ()
    examine: bool = False
    probing: bool = False
    """Customs refuses the card, and one message is to find out whether it still does."""

    def __bool__(self) -> bool:
        return bool(self.messages) or self.examine or self.probing


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message that this card has claimed."""

    id: int
    batch_id: int
    message: Message


@dataclass(frozen=True, slots=True)
class _Signed:
    """What the card did of it."""

    payloads: Sequence[tuple[int, bytes]]
    certificate: bytes
    """DER; empty when it was not seen."""
    trouble: SigningError | None
    """What broke it off."""
    seconds: float


def sign(context: Context) -> int:
    """Examine the card when that is due, then sign what waits for it, for a few seconds; gives how many.

    Rings the sender for what was signed, and itself while more is waiting. A card that is away, refuses
    its PIN or is not fit is noted for all to see and left alone for a moment, and what waits stays as it
    is: not one message is signed for a certificate that customs would refuse. While customs refuses the
    card (`models.writes.line`) one message is signed, the probe, and what another certificate signed is made
    anew. Raises `DatabaseRestored`: a message may have been sent with other bytes; `AnotherDeployment`.
    """
    end = time.monotonic() + RUN_SECONDS
    with context.database.write() as session:
        context.journal.require_current(session)
        require_identity(session, context.identity)
        work = _next_work(session, context, min(SIGNED_FIRST, SIGNED_TOGETHER))
    stored = 0
    while work:
        done = _signed_now(context, work)
        crash_point(Point.SIGNED_NOT_STORED)
        going_on = done.trouble is None and time.monotonic() < end and not context.stopping()
        with context.database.write() as session:
            context.journal.require_current(session)  # it may have been restored meanwhile
            stored += (now_stored := _store_signed(session, context, work, done))
            _note_card(session, context, done)
            probing = done.trouble is None and work.probing
            anew = _withdraw_of_another_card(session, done.certificate) if probing else set()
            following = _next_work(session, context, _pace(done)) if going_on else _Work()
        crash_point(Point.STORED_BEFORE_RING)
        for batch_id in sorted(anew):
            context.ring(Task.PREPARE, batch_id)
        if now_stored:
            _log_signed(work.messages, {i for i, _ in done.payloads})
            context.ring(Task.SEND)
        if (trouble := done.trouble) is not None:
            log.error(
                "card_unavailable", code=trouble.code, detail=str(trouble.values.get("detail"))
            )
        elif anew or (work.messages and not going_on):
            context.ring(Task.SIGN)  # there may be more
        work = following if not following.probing or following.messages else _Work()
    return stored


def _pace(done: _Signed) -> int:
    """How many signatures the card makes before they are to be stored."""
    if not done.payloads:
        return 1
    return max(1, min(SIGNED_TOGETHER, int(len(done.payloads) * SIGNING_SECONDS / done.seconds)))


def _log_signed(messages: Sequence[_Waiting], signed: Collection[int]) -> None:
    """A line for each batch, with the numbers of its messages."""
    by_batch: dict[int, list[str]] = defaultdict(list)
    for waiting in messages:
        if waiting.id in signed:
            by_batch[waiting.batch_id].append(waiting.message.number)
    for batch_id, numbers in by_batch.items():
        log.info("messages_signed", batch_id=batch_id, numbers=numbers)


def _signed_now(context: Context, work: _Work) -> _Signed:
    """Use the card, with no transaction open. What was signed before a fault is kept."""
    payloads: list[tuple[int, bytes]] = []
    certificate, trouble = b"", None
    began = time.monotonic()
    try:
        if work.examine:
            context.signer.examine()
        certificate = context.signer.certificate_der()
        require_fit(certificate, context.settings.sender, context.now())
        began = time.monotonic()
        for one in _signatures(context, work.messages):
            payloads.append(one)  # noqa: PERF402 - what was signed before a fault is kept
    except SigningError as error:
        trouble = error
    return _Signed(payloads, certificate, trouble, max(time.monotonic() - began, 1e-6))


def _signatures(context: Context, messages: Sequence[_Waiting]) -> Iterator[tuple[int, bytes]]:
    """Sign one after another until it has taken long enough. Raises `SigningError`."""
    profile = context.settings.signature_profile
    end = time.monotonic() + SIGNING_SECONDS
    for waiting in messages:
        yield waiting.id, context.wire.signed_message(waiting.message, context.signer, profile)
        if time.monotonic() > end or context.stopping():
            return


# -- the tables -------------------------------------------------------------------------------------


def _next_work(session: Session, context: Context, limit: int) -> _Work:
    """Claim the next messages for this card, and see whether it is to be examined."""
    now = context.now()
    card = session.get(Card, _card_label(context))
    if card is not None and card.code and now < card.examine_at <= now + CARD_PAUSE:
        return _Work()  # it could not sign a moment ago
    examine = card is None or not now < card.examine_at <= now + EXAMINED_EVERY
    examine |= bool(session.scalar(select(exists(Card.label).where(not_in_use(now)))))
    room = room_to_sign(session, now)
    messages = _claimed(session, context, limit if room is None else min(limit, room))
    return _Work(messages, examine, room is not None)


def _card_label(context: Context) -> str:
    """What the card is known by: its label, and where two have the same, its number too."""
    token = context.settings
    return (
        " ".join(filter(None, (token.pkcs11_token_label, token.pkcs11_token_serial))) or "key-file"
    )


def _claimed(session: Session, context: Context, limit: int) -> list[_Waiting]:
    """The next messages by turns, this card's alone for a while; those that another is at are left to it."""
    now = context.now()
    s = Submission
    found = session.execute(
        select(
            *(s.id, s.batch_id, s.number, s.guid, s.sender, s.action, s.certificate),
            *(s.certificate_type, s.exporter, s.agent, s.stock_owner, s.reason_code, s.reason_text),
            s.created_at,
        )
        .where(
            may_leave(now, SubmissionState.PREPARED),
            or_(s.sender.is_(None), s.sender == context.settings.sender),
        )
        .order_by(s.turn, s.id)
        .limit(limit)
        .with_for_update(**NO_KEY_UPDATE, skip_locked=True)
    ).all()
    if not found:
        return []
    given = select(ids_table(session, [r.id for r in found]).c.id)
    session.execute(update(s).where(s.id.in_(given)).values(lease_until=now + SIGNING_LEASE))
    lines = session.execute(
        select(Item.submission_id, Item.g_no, Item.serial, Form.form_type)
        .join(Form, Form.id == Item.form_id)
        .where(Item.submission_id.in_(given))
        .order_by(Item.submission_id, Item.g_no)
    )
    of_message = {
        submission_id: [MessageLine(r.g_no, r.serial, r.form_type) for r in of_one]
        for submission_id, of_one in groupby(lines, key=lambda r: r.submission_id)
    }
    return [
        _Waiting(
            r.id,
            r.batch_id,
            Message(
                number=r.number,
                guid=r.guid,
                sender=r.sender or context.settings.sender,
                action=r.action,
                certificate=r.certificate,
                certificate_type=r.certificate_type,
                exporter=r.exporter,
                agent=r.agent,
                stock_owner=r.stock_owner,
                reason_code=r.reason_code,
                reason_text=r.reason_text,
                made_at=r.created_at,
                lines=of_message[r.id],
            ),
        )
        for r in found
    ]


def _store_signed(session: Session, context: Context, work: _Work, done: _Signed) -> int:
    """Bytes are written once: a message that was signed or cancelled meanwhile is left alone. What the card
    did not come to is free again.
    """
    signed = {i for i, _ in done.payloads}
    if left := [w.id for w in work.messages if w.id not in signed]:
        session.execute(
            update(Submission)
            .where(
                Submission.id.in_(select(ids_table(session, left).c.id)),
                Submission.state == SubmissionState.PREPARED,
            )
            .values(lease_until=None)
        )
    if not signed:
        return 0
    now = context.now()
    moved = move_submissions(
        session,
        signed,
        SubmissionState.SIGNED,
        signed_at=now,
        signed_with=key_name(done.certificate),
        next_attempt_at=now,
        lease_until=None,
    )
    if moved:
        table = Submission.__table__
        session.connection().execute(
            update(table)  # type: ignore[arg-type]
            .where(table.c.id == bindparam("b_id"), table.c.payload.is_(None))
            .values(
                payload=bindparam("b_payload", type_=LargeBinary()),
                payload_sha256=bindparam("b_sha"),
            ),
            [
                {"b_id": i, "b_payload": payload, "b_sha": hashlib.sha256(payload).hexdigest()}
                for i, payload in done.payloads
                if i in moved
            ],
        )
    return len(moved)


def _note_card(session: Session, context: Context, done: _Signed) -> None:
    """Note how the card is, for all to see."""
    now = context.now()
    again = EXAMINED_EVERY if done.trouble is None else CARD_PAUSE
    card = note_card(session, _card_label(context), done.trouble, now, now + again)
    if done.trouble is None:
        card.not_after = certificate_expiry(done.certificate)
        card.certificate_serial = key_name(done.certificate)


def _withdraw_of_another_card(session: Session, certificate: bytes) -> set[int]:
    """What another certificate signed and has certainly not left is cancelled, and its forms are free for a
    message under a new number (bytes never change after signing); some at a time, gives their batches.
    """
    serial = key_name(certificate)
    found = session.execute(
        select(Submission.id, Submission.batch_id)
        .where(
            WAITS_TO_LEAVE,
            Submission.state == SubmissionState.SIGNED,
            or_(Submission.signed_with.is_(None), Submission.signed_with != serial),
        )
        .order_by(Submission.turn, Submission.id)
        .limit(WITHDRAWN_TOGETHER)
        .with_for_update(**NO_KEY_UPDATE, skip_locked=True)
    ).all()
    if not found:
        return set()
    given = ids_table(session, [r.id for r in found])
    move_submissions(session, given, SubmissionState.CANCELLED, next_attempt_at=None)
    session.execute(
        update(Item)
        .where(Item.submission_id.in_(select(given.c.id)), Item.state == ItemState.UNDER_WAY)
        .values(submission_id=None, g_no=None)
    )
    log.warning("signed_by_another_card_withdrawn", count=len(found))
    return {r.batch_id for r in found}


@app.task(name=Task.SIGN.value)
def sign_task() -> None:
    """Messages wait for the card."""
    try:
        sign(current())
    except (DatabaseRestored, AnotherDeployment) as refusal:
        log.warning("signing_waits", code=refusal.code, detail=str(refusal))
