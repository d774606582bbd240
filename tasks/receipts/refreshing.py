"""A person does not want to wait (刷新): what the processes would do in time is done now, in its order."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from config.names import Task
from models.rules.errors import NotFound
from models.tables.certificates import Certificate
from tasks.app import require_broker
from tasks.context import Context
from tasks.messages import asking
from tasks.receipts import adopting, applying, inbox


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How much there was: new receipts, receipts applied, messages asked about, forms settled by customs' list."""

    new: int
    applied: int
    asked: int
    adopted: int


def refresh_soon(context: Context, certificate: str | None = None) -> None:
    """Have the processes do the same at once; nobody waits for it. Raises `BrokerUnreachable`, `NotFound`.

    Receipts are asked for within a second or two, however often this is said, and not before the end of a wait that
    customs asked for. Of a certificate its messages alone are asked about, due or not.
    """
    require_broker()
    about: int | None = None
    with context.database.write() as session:
        inbox.poll_soon(session, context)
        if certificate is not None:
            _require_seen(session, context, certificate)
            about = asking.message_to_ask_about(session, certificate)
    for task in (Task.POLL, Task.APPLY, Task.ADOPT):
        context.ring(task)
    if certificate is None:
        context.ring(Task.ASK)
    elif about is not None:
        context.ring(Task.ASK, about)


def _require_seen(session: Session, context: Context, certificate: str) -> None:
    """Raise `NotFound` for a certificate of an enterprise that the actor does not work for."""
    if context.sight is not None:
        theirs = exists().where(Certificate.number == certificate, context.sight.certificates)
        if not session.scalar(select(theirs)):
            raise NotFound(what=certificate)


def refresh(context: Context, certificate: str | None = None) -> Refreshed:
    """Fetch receipts and apply them, ask about what is in doubt and due (of a certificate: about all of its messages
    that customs may have, due or not, and no others), ask customs' list where it must say and it is time.

    Receipts and lists come for all certificates together: customs gives them by nothing narrower (contract section 2).

    Raises `GatewayUnreachable`; what was done until then stays. Done twice it finds what came meanwhile.
    """
    new = inbox.poll(context)
    applied = 0
    while count := applying.apply(context):
        applied += count
    asked = asking.ask(context, certificate)
    return Refreshed(new, applied, asked, adopting.adopt(context))
