"""The first process that opens a database writes down whose it is; a person says when that changes.

A message of a trial must not reach the real customs, and no order may be signed with the card of
another enterprise: every later process compares (`models.reads.deployment`).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.names import SIMULATOR
from models.reads.deployment import Identity, known_identity, named, require_identity
from models.rules.errors import (
    BadArgument,
    CustomsFixed,
    MessagesWait,
)
from models.rules.grace import Grace
from models.rules.language import t
from models.rules.states import FINAL_FORM_STATES
from models.tables.customs_link import CustomsLink
from models.tables.deployment import Deployment
from models.tables.forms import Form
from models.tables.submissions import OPEN_MESSAGE, Attempt, Submission


def remember_identity(
    session: Session, given: Identity, now: datetime, grace: Grace | None = None
) -> None:
    """Write down the identity of a database that has none and no message either, and its grace.

    Does nothing when it is known. With messages from before it was kept, nothing is written: then a
    person confirms (`confirm_identity`), and `require_identity` says so until it is done.
    """
    if known_identity(session) is None and not session.scalar(select(exists(Submission.id))):
        try:
            with session.begin_nested():
                # an insert: what another process has just written is never updated
                session.add(
                    Deployment(id=1, sender=given.sender, customs=given.customs, known_at=now)
                )
                session.flush()
                if grace is not None:
                    set_grace(session, grace)
        except IntegrityError:
            session.expire_all()  # another process was first; what it wrote is compared


def confirm_identity(session: Session, given: Identity, now: datetime) -> None:
    """A person says that a database from before belongs to this sender and this customs.

    Messages that are not signed yet get their sender. Done twice it changes nothing. Raises
    `AnotherDeployment` when something else is known already.
    """
    if known_identity(session) is not None:
        require_identity(session, given)
        return
    _write(session, given, now)
    session.execute(
        update(Submission)
        .where(OPEN_MESSAGE, Submission.sender.is_(None))
        .values(sender=given.sender)
    )


def customs_moved(session: Session, customs: str, now: datetime) -> None:
    """The same customs answers at another address. Raises `BadArgument` for the simulator."""
    known = known_identity(session)
    if known is None or SIMULATOR in {known.customs, customs}:
        raise BadArgument(
            detail=t(
                "模拟海关没有地址可换；换成真正的海关请用 blankforms adopt-customs",
                'the simulator does not move; for the real customs use "blankforms adopt-customs"',
            )
        )
    _write(session, Identity(known.sender, customs), now)


def set_grace(session: Session, grace: Grace) -> None:
    """For so long orders that are confirmed from now on can be taken back."""
    deployment = session.get_one(Deployment, 1)
    deployment.grace_verify_minutes, deployment.grace_void_minutes = grace.verify, grace.void


def adopt_customs(session: Session, given: Identity, now: datetime) -> None:
    """Another customs, or another sender: only while nothing was ever sent and no form is final.

    What was remembered of the line (how far receipts were read) is forgotten. Raises `CustomsFixed`,
    and `MessagesWait` while messages made for the one before could still leave.
    """
    session.get(
        Deployment, 1, with_for_update=True
    )  # whoever makes a message has made it, or waits
    known = known_identity(session)
    name = named(known.customs) if known else "-"
    if session.scalar(select(exists(Attempt.id))) or session.scalar(
        select(exists().where(Form.state.in_(FINAL_FORM_STATES)))
    ):
        raise CustomsFixed(known=name)
    waiting = session.scalar(select(func.count(Submission.id)).where(OPEN_MESSAGE))
    if waiting:
        raise MessagesWait(count=waiting)
    session.execute(delete(CustomsLink))
    _write(session, given, now)


def _write(session: Session, identity: Identity, now: datetime) -> None:
    session.merge(Deployment(id=1, sender=identity.sender, customs=identity.customs, known_at=now))
    session.flush()
