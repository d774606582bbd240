"""Stage 4a, prepare and sign: one message for each certificate and operation, signed by the card.

`prepare` fixes number, GUID, time and contents; `sign` fixes the bytes. Both write once: the number
is unique, and bytes are stored only while there are none, so a second run changes nothing. `sign`
is the only use of the card in the product and runs in the submitter alone.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

import structlog
from sqlalchemy import (
    BigInteger,
    Integer,
    LargeBinary,
    String,
    and_,
    bindparam,
    exists,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs.bcm1 import MAX_SERIALS, signed_message
from customs.gateway import Message, MessageLine
from customs.signing.certificates import certificate_expiry, key_name, require_fit
from customs.signing.xmldsig import PROFILES
from models.base import NO_KEY_UPDATE
from models.batches import Batch, BatchRow, Item
from models.bulk import chunks, ids_table, insert_rows, rows_table
from models.card import not_in_use, note_card
from models.card_errors import SigningError
from models.deployment import require_identity
from models.errors import AnotherDeployment, DatabaseRestored
from models.links import room_to_sign
from models.pauses import not_paused
from models.states import Action, BatchState, ItemState, SubmissionState
from models.stock import Certificate, Form, Stock
from models.submissions import MAY_BE_DUE, Card, Submission
from tasks.app import app
from tasks.context import Context, current

log = structlog.get_logger(__name__)

CERTIFICATES_TOGETHER: Final = 400
"""Certificates made into messages in one transaction: about 500 rows."""

SIGNED_TOGETHER: Final = 100
SIGNING_SECONDS: Final = 2.0
"""Signatures are stored after so many or so long: a card of 4 a second is not kept waiting by the
database, and the sender is not kept waiting by the card."""

CARD_PAUSE: Final = timedelta(seconds=10)
"""How long to leave a card alone that could not sign."""

EXAMINED_EVERY: Final = timedelta(minutes=1)
"""A card that is pulled, expires or is exchanged is noticed after that at the latest, order or not. In a
session that is open it costs no login."""


# -- prepare ------------------------------------------------------------------------------------


def prepare(context: Context, batch_id: int) -> int:
    """Make the next messages of a reserved batch; gives how many. Rings itself while there are more.

    Raises `DatabaseRestored`: what is reserved here may have been sent under another number;
    `AnotherDeployment`: the database belongs to another.
    """
    with context.database.write() as session:
        context.journal.require_current(session)
        require_identity(session, context.identity, to_stay=True)
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state is not BatchState.WORKING:
            return 0
        certificates = session.scalars(
            select(Item.certificate)
            .where(
                Item.batch_id == batch_id,
                Item.state == ItemState.HELD,
                Item.submission_id.is_(None),
            )
            .distinct()
            .order_by(Item.certificate)
            .limit(CERTIFICATES_TOGETHER)
        ).all()
        count = _prepare_certificates(session, context, batch_id, certificates)
        crash_point(Point.PREPARE_BEFORE_COMMIT)
    crash_point(Point.PREPARED_BEFORE_RING)
    if count:
        log.info("messages_prepared", batch_id=batch_id, count=count)
        context.ring(Task.SIGN)
    if len(certificates) == CERTIFICATES_TOGETHER:
        context.ring(Task.PREPARE, batch_id)
    return count


@dataclass(frozen=True, slots=True, order=True)
class _Kind:
    """What a message is about: forms with the same kind go together."""

    certificate: str
    action: Action
    owner: str
    reason_code: str
    reason_text: str


def _prepare_certificates(
    session: Session, context: Context, batch_id: int, certificates: Sequence[str]
) -> int:
    if not certificates:
        return 0
    found = _unprepared(session, batch_id, certificates)

    def kind(r: Any) -> _Kind:
        void = r.action is Action.VOID
        code, text = (r.reason_code or "", r.reason_text or "") if void else ("", "")
        return _Kind(r.certificate, r.action, r.owner, code, text)

    messages: list[dict[str, Any]] = []
    members: list[tuple[list[Any], str]] = []
    for what, together in groupby(sorted(found, key=lambda r: (kind(r), r.serial)), key=kind):
        for forms in chunks(together, MAX_SERIALS):
            number = uuid.uuid4().hex.upper()
            messages.append(_new_message(context, batch_id, what, forms[0], number, len(forms)))
            members.append((forms, number))
    insert_rows(session, Submission, messages)
    _assign(session, members)
    return len(messages)


def _unprepared(session: Session, batch_id: int, certificates: Sequence[str]) -> Sequence[Any]:
    """Held items of these certificates that no message has, with what a message says about them.

    The certificates are all that there are between the first and the last.
    """
    return session.execute(
        select(
            Item.id,
            Item.serial,
            Item.action,
            Item.certificate,
            Stock.owner,
            BatchRow.reason_code,
            BatchRow.reason_text,
            Certificate.type,
            Certificate.exporter,
            Certificate.agent,
        )
        .join(Certificate, Certificate.number == Item.certificate)
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .where(
            Item.batch_id == batch_id,
            Item.certificate.between(certificates[0], certificates[-1]),
            Item.state == ItemState.HELD,
            Item.submission_id.is_(None),
        )
    ).all()


def _assign(session: Session, members: Sequence[tuple[list[Any], str]]) -> None:
    """Each item to the message of that number, with its place in it."""
    numbers = rows_table(session, {"number": String()}, [(number,) for _, number in members])
    ids = dict(
        session.execute(
            select(Submission.number, Submission.id).join(
                numbers, numbers.c.number == Submission.number
            )
        ).all()
    )
    assigned = rows_table(
        session,
        {"id": BigInteger(), "submission_id": BigInteger(), "g_no": Integer()},
        [
            (form.id, ids[number], g_no)
            for forms, number in members
            for g_no, form in enumerate(forms, start=1)
        ],
    )
    session.execute(
        update(Item)
        .where(Item.id == assigned.c.id)
        .values(submission_id=assigned.c.submission_id, g_no=assigned.c.g_no)
        .execution_options(synchronize_session=False)
    )


def _new_message(
    context: Context, batch_id: int, kind: _Kind, first: Any, number: str, form_count: int
) -> dict[str, Any]:
    now = context.now()
    return {
        "number": number,
        "guid": str(uuid.uuid4()).upper(),
        "batch_id": batch_id,
        "sender": context.settings.sender,
        "certificate": kind.certificate,
        "certificate_type": first.type,
        "exporter": first.exporter,
        "agent": first.agent,
        "stock_owner": kind.owner,
        "action": kind.action,
        "reason_code": kind.reason_code or None,
        "reason_text": kind.reason_text or None,
        "form_count": form_count,
        "created_at": now,
        "state": SubmissionState.PREPARED,
        "next_attempt_at": now,
    }


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message that waits for the card."""

    id: int
    batch_id: int
    message: Message


# -- sign ---------------------------------------------------------------------------------------


def sign(context: Context) -> int:
    """Examine the card when that is due, then sign what waits for it, for a few seconds; gives how many.

    Rings the sender for what was signed, and itself while more is waiting. A card that is away, refuses
    its PIN or is not fit is noted for all to see, and what waits stays as it is: not one message is
    signed for a certificate that customs would refuse. While customs refuses the card (`models.links`)
    one message is signed, the probe, and what another certificate signed is made anew. Raises
    `DatabaseRestored`: a message may have been sent with other bytes; `AnotherDeployment`.
    """
    with context.database.read() as session:
        context.journal.require_current(session)
        require_identity(session, context.identity)
        room = room_to_sign(session, context.now())
        messages = list(_waiting_messages(session, context, room))
        examination = _examination_due(session, context)
    if not (messages or examination or room is not None):
        return 0
    signed, certificate, trouble = _signed_now(context, messages, examine=examination)
    crash_point(Point.SIGNED_NOT_STORED)
    serial = key_name(certificate) if certificate else ""
    with context.database.write() as session:
        context.journal.require_current(session)  # it may have been restored while the card signed
        stored = _store_signed(session, context, signed, serial)
        _note_card(session, context, trouble, certificate)
        probing = trouble is None and room is not None
        anew = _withdraw_of_another_card(session, serial) if probing else set()
    crash_point(Point.STORED_BEFORE_RING)
    for batch_id in sorted(anew):
        context.ring(Task.PREPARE, batch_id)
    if stored:
        _log_signed(messages, {i for i, _ in signed})
        context.ring(Task.SEND)
    if trouble is not None:
        log.error("card_unavailable", code=trouble.code, detail=str(trouble.values.get("detail")))
    elif anew or (messages and room is None):
        context.ring(Task.SIGN)  # there may be more
    return stored


def _log_signed(messages: Sequence[_Waiting], signed: Collection[int]) -> None:
    """A line for each batch, with the numbers of its messages."""
    by_batch: dict[int, list[str]] = defaultdict(list)
    for waiting in messages:
        if waiting.id in signed:
            by_batch[waiting.batch_id].append(waiting.message.number)
    for batch_id, numbers in by_batch.items():
        log.info("messages_signed", batch_id=batch_id, numbers=numbers)


def _signed_now(
    context: Context, messages: Sequence[_Waiting], *, examine: bool
) -> tuple[list[tuple[int, bytes]], bytes, SigningError | None]:
    """The bytes of what was signed, the certificate (DER, empty when it was not seen), and what broke it off."""
    signed: list[tuple[int, bytes]] = []
    certificate = b""
    try:
        if examine:
            context.signer.examine()
        certificate = context.signer.certificate_der()
        require_fit(certificate, context.settings.sender, context.now())
        for one in _signatures(context, messages):
            signed.append(one)  # noqa: PERF402 - what was signed before a fault is kept
    except SigningError as error:
        return signed, certificate, error
    return signed, certificate, None


def _examination_due(session: Session, context: Context) -> bool:
    card = session.get(Card, _card_label(context))
    if card is None or card.examine_at <= context.now():
        return True
    return bool(session.scalar(select(exists(Card.label).where(not_in_use(context.now())))))


def _card_label(context: Context) -> str:
    return context.settings.pkcs11_token_label or "key-file"


def _signatures(context: Context, messages: Sequence[_Waiting]) -> Iterator[tuple[int, bytes]]:
    """Sign one after another until a few seconds have passed. Raises `SigningError`."""
    profile = PROFILES[context.settings.signature_profile]
    end = time.monotonic() + SIGNING_SECONDS
    for waiting in messages:
        yield waiting.id, signed_message(waiting.message, context.signer, profile)
        if time.monotonic() > end or context.stopping():
            return


def _withdraw_of_another_card(session: Session, serial: str) -> set[int]:
    """What another certificate signed and has certainly not left is cancelled, and its forms are free for a
    message under a new number (bytes never change after signing); some at a time, gives their batches.
    """
    found = session.execute(
        select(Submission.id, Submission.batch_id)
        .where(
            MAY_BE_DUE,
            Submission.state == SubmissionState.SIGNED,
            or_(Submission.signed_with.is_(None), Submission.signed_with != serial),
        )
        .order_by(Submission.id)
        .limit(CERTIFICATES_TOGETHER)
        .with_for_update(**NO_KEY_UPDATE, skip_locked=True)
    ).all()
    if not found:
        return set()
    given = ids_table(session, [r.id for r in found])
    session.execute(
        update(Submission)
        .where(Submission.id.in_(select(given.c.id)))
        .values(state=SubmissionState.CANCELLED, next_attempt_at=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(Item)
        .where(Item.submission_id.in_(select(given.c.id)), Item.state == ItemState.HELD)
        .values(submission_id=None, g_no=None)
        .execution_options(synchronize_session=False)
    )
    log.warning("signed_by_another_card_withdrawn", count=len(found))
    return {r.batch_id for r in found}


def _waiting_messages(session: Session, context: Context, room: int | None) -> Iterator[_Waiting]:
    waiting = session.execute(
        select(Submission)
        .where(
            MAY_BE_DUE,
            Submission.state == SubmissionState.PREPARED,
            Submission.next_attempt_at <= context.now(),
            or_(Submission.sender.is_(None), Submission.sender == context.settings.sender),
            not_paused(),
        )
        .order_by(Submission.id)
        .limit(SIGNED_TOGETHER if room is None else room)
    ).scalars()
    submissions = {s.id: s for s in waiting}
    lines = session.execute(
        select(Item.submission_id, Item.g_no, Item.serial, Form.form_type)
        .join(Form, Form.id == Item.form_id)
        .where(Item.submission_id.in_(submissions))
        .order_by(Item.submission_id, Item.g_no)
    )
    for submission_id, of_one in groupby(lines, key=lambda r: r.submission_id):
        s = submissions[submission_id]
        yield _Waiting(
            s.id,
            s.batch_id,
            Message(
                number=s.number,
                guid=s.guid,
                sender=s.sender or context.settings.sender,
                action=s.action,
                certificate=s.certificate,
                certificate_type=s.certificate_type,
                exporter=s.exporter,
                agent=s.agent,
                stock_owner=s.stock_owner,
                reason_code=s.reason_code,
                reason_text=s.reason_text,
                made_at=s.created_at,
                lines=[MessageLine(r.g_no, r.serial, r.form_type) for r in of_one],
            ),
        )


def _store_signed(
    session: Session, context: Context, signed: Sequence[tuple[int, bytes]], serial: str
) -> int:
    """Bytes are written once: a message that was signed or cancelled meanwhile is left alone."""
    if not signed:
        return 0
    now = context.now()
    rows = [
        {"b_id": i, "b_payload": payload, "b_sha": hashlib.sha256(payload).hexdigest()}
        for i, payload in signed
    ]
    connection = session.connection()
    result = connection.execute(
        update(Submission.__table__)  # type: ignore[arg-type]
        .where(
            Submission.__table__.c.id == bindparam("b_id"),
            Submission.__table__.c.state == SubmissionState.PREPARED,
        )
        .values(
            state=SubmissionState.SIGNED,
            payload=bindparam("b_payload", type_=LargeBinary()),
            payload_sha256=bindparam("b_sha"),
            signed_at=now,
            signed_with=serial,
            next_attempt_at=now,
        ),
        rows,
    )
    return result.rowcount


def _note_card(
    session: Session, context: Context, trouble: SigningError | None, certificate: bytes
) -> None:
    """Note how the card is; what waits for one that could not sign is left alone for a moment."""
    now = context.now()
    again = EXAMINED_EVERY if trouble is None else CARD_PAUSE
    card = note_card(session, _card_label(context), trouble, now, now + again)
    if trouble is None:
        card.not_after = certificate_expiry(certificate)
        card.certificate_serial = key_name(certificate)
        return
    session.execute(
        update(Submission)
        .where(
            MAY_BE_DUE,
            Submission.state == SubmissionState.PREPARED,
            Submission.next_attempt_at <= context.now(),
        )
        .values(next_attempt_at=context.now() + CARD_PAUSE)
        .execution_options(synchronize_session=False)
    )


@app.task(name=Task.PREPARE.value)
def prepare_task(batch_id: int) -> None:
    """A batch holds serials that no message is about yet."""
    try:
        prepare(current(), batch_id)
    except (DatabaseRestored, AnotherDeployment) as refusal:
        log.warning("prepare_waits", batch_id=batch_id, code=refusal.code)


@app.task(name=Task.SIGN.value)
def sign_task() -> None:
    """Messages wait for the card."""
    try:
        sign(current())
    except (DatabaseRestored, AnotherDeployment) as refusal:
        log.warning("signing_waits", code=refusal.code, detail=str(refusal))
