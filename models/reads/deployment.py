"""Whose database this is: one sender, one customs (rule 8 of how-it-works.md). Another one is refused."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from config.names import SIMULATOR
from models.rules.errors import (
    AnotherCustoms,
    AnotherSender,
    DeploymentUnconfirmed,
)
from models.rules.grace import Grace
from models.rules.language import Text
from models.tables.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Identity:
    """USCC of the sender, and the name of the simulator or the origin of customs' address."""

    sender: str
    customs: str


def named(customs: str) -> str | Text:
    """Which customs, as people read it."""
    return Text("模拟海关", "the simulator") if customs == SIMULATOR else customs


def known_identity(session: Session) -> Identity | None:
    """What the database remembers; None before anything was."""
    found = session.get(Deployment, 1)
    return Identity(found.sender, found.customs) if found else None


def known_grace(session: Session) -> Grace:
    """How long orders can be taken back; none before it is known whose database this is."""
    found = session.get(Deployment, 1)
    return Grace(found.grace_verify_minutes, found.grace_void_minutes) if found else Grace(0, 0)


def require_identity(session: Session, given: Identity, *, to_stay: bool = False) -> None:
    """Raise `AnotherSender` or `AnotherCustoms` when the settings name others than the database.

    `to_stay`: until the transaction ends nobody changes it, so that what is written for this customs is
    seen by whoever would adopt another. Raises `DeploymentUnconfirmed` when the database does not know yet.
    """
    if to_stay:
        session.get(Deployment, 1, with_for_update={"read": True})
    known = known_identity(session)
    if known is None:
        raise DeploymentUnconfirmed(sender=given.sender, customs=named(given.customs))
    compare(known, given)


def compare(known: Identity, given: Identity) -> None:
    """Raise `AnotherSender` or `AnotherCustoms` where they differ."""
    if known.sender != given.sender:
        raise AnotherSender(known=known.sender, given=given.sender)
    if known.customs != given.customs:
        raise AnotherCustoms(known=named(known.customs), given=named(given.customs))
