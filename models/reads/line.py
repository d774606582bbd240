"""The line to customs as remembered: whether messages may leave, and if not, why and until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.reads.pauses import not_paused
from models.rules.states import LineReason, LineState, PauseScope, SubmissionState, label
from models.tables.batches import Batch
from models.tables.customs_link import CustomsLink
from models.tables.pauses import Pause
from models.tables.submissions import WAITS_TO_LEAVE, Submission

LINK: Final = "customs"


@dataclass(frozen=True, slots=True)
class Line:
    """Whether messages leave, and if not, why and until when."""

    state: LineState
    reason: LineReason | None = None
    detail: str = ""
    until: datetime | None = None

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "state": self.state.value,
            "reason": self.reason.value if self.reason else None,
            "detail": self.detail,
            "until": self.until.isoformat() if self.until else None,
        }

    def said(self, zone: ZoneInfo) -> str:
        """In words, with the local time."""
        parts = [label(self.state)]
        if self.until:
            parts.append(f"→ {self.until.astimezone(zone):%Y-%m-%d %H:%M:%S}")
        if self.reason:
            parts.append(f"{label(self.reason)} {self.detail}".strip())
        return " ".join(parts)


def line_of(session: Session, now: datetime) -> Line:
    """The line as it is now. Reads only."""
    stopped = session.scalar(select(Pause).where(Pause.scope == PauseScope.ALL.value))
    if stopped is not None:
        return Line(LineState.CLOSED, LineReason.PAUSED, f"{stopped.by}: {stopped.reason}")
    link = session.get(CustomsLink, LINK)
    if link is None:
        return Line(LineState.OPEN)
    reason = LineReason(link.closed_code) if link.closed_code else None
    about = (reason, link.closed_reason or "")
    if link.closed_until is not None and link.closed_until > now:
        return Line(LineState.CLOSED, *about, link.closed_until)
    if link.card_refusals:
        return Line(LineState.PROBING, *about)
    return Line(LineState.OPEN)


def _state_of_probe(session: Session, link: CustomsLink) -> SubmissionState | None:
    return session.scalar(select(Submission.state).where(Submission.id == link.probe_id))


def room_to_sign(session: Session, now: datetime) -> int | None:
    """How many messages may be signed: None as many as wait; while a probe is asked for, one, when there is none yet.

    What would be signed with a card that customs refuses is an order lost for each message.
    """
    link = session.get(CustomsLink, LINK)
    if link is None or not link.card_refusals:
        return None
    may_leave = (
        select(Submission.id)
        .join(Batch, Batch.id == Submission.batch_id)
        .where(
            WAITS_TO_LEAVE,
            Submission.state == SubmissionState.SIGNED,
            Batch.expires_at > now,
            Batch.cancelled_at.is_(None),
            not_paused(),  # what a person has stopped is no probe
        )
    )
    return 0 if session.scalar(select(may_leave.exists())) else 1
