"""What is told of batches: checked, finished, and what customs refused of them.

Each is written in the transaction of what it tells of. A refusal is told message by message (one
certificate, one operation), never form by form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from models.batches import Batch
from models.notifications import subscribers, tell_endpoints
from models.outcomes import batch_counts
from models.states import Action, FormState, NotificationType, RowStatus


@dataclass(frozen=True, slots=True)
class RefusedForm:
    """One form that customs refused; `hold`: it is held until a person has looked."""

    serial: str
    code: str
    text: str
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """What customs refused of one message."""

    batch_id: int
    certificate: str
    action: Action
    forms: Sequence[RefusedForm]


def announce_checked(session: Session, batch: Batch, at: datetime) -> None:
    """A batch was checked, or checked again with another plan."""
    kind = NotificationType.BATCH_CHECKED
    endpoints = subscribers(session, kind)
    if endpoints:
        session.flush()
        told = {**_told(session, batch), "plan": batch.plan}
        tell_endpoints(session, kind, [(told, batch.id)], at, endpoints)


def announce_ended(session: Session, batch_ids: Sequence[int], at: datetime) -> None:
    """Batches came to their end: finished, or cancelled."""
    kind = NotificationType.BATCH_FINISHED
    endpoints = subscribers(session, kind) if batch_ids else []
    if not endpoints:
        return
    told = []
    for batch_id in batch_ids:
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        told.append((_told(session, batch), batch_id))
    tell_endpoints(session, kind, told, at, endpoints)


def announce_refused(session: Session, refusals: Iterable[Refusal], at: datetime) -> None:
    """Customs refused forms."""
    kind = NotificationType.FORM_REFUSED
    endpoints = subscribers(session, kind)
    if not endpoints:
        return
    told = [
        (
            {
                "batch": r.batch_id,
                "certificate": r.certificate,
                "action": r.action.value,
                "forms": [asdict(form) for form in r.forms],
            },
            r.batch_id,
        )
        for r in refusals
    ]
    tell_endpoints(session, kind, told, at, endpoints)


def _told(session: Session, batch: Batch) -> dict[str, Any]:
    counts = batch_counts(session, batch.id)
    return {
        "batch": batch.id,
        "state": batch.state.value,
        "file": batch.file_name,
        "sha256": batch.sha256,
        "rows": {
            "all": batch.row_count,
            **{status.value: counts.rows.get(status, 0) for status in RowStatus},
        },
        "forms": {state.value: counts.forms.get(state, 0) for state in FormState},
        "refused_forms": counts.refused_forms,
        "released_forms": counts.released_forms,
    }
