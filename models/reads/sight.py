"""What a person who works for some enterprises alone sees of the rest: nothing (DESIGN.md section 5).

Of theirs are: certificates that name one of the enterprises as exporter; forms of the enterprises' own stocks, and of
the sender's those that are free or used for such a certificate; batches whose rows are all of one of the enterprises,
and those that the person brought. A `Sight` of None sees everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from models.rules.errors import BatchNotFound
from models.rules.people import Actor
from models.rules.states import RowStatus
from models.tables.batches import Batch, BatchRow
from models.tables.certificates import Certificate
from models.tables.forms import Form, Stock
from models.tables.people import Person


@dataclass(frozen=True, slots=True)
class Sight:
    """The limits of one person; `sender` is the enterprise whose card signs, and whose paper all may use."""

    person_id: int | None
    principals: frozenset[str]
    sender: str

    @property
    def owners(self) -> frozenset[str]:
        """Whose stocks the person may draw from."""
        return self.principals | {self.sender}

    @property
    def certificates(self) -> Any:
        """Condition on `Certificate`."""
        return Certificate.exporter.in_(self.principals)

    @property
    def forms(self) -> Any:
        """Condition on `Form` joined with its `Stock`."""
        used_for = aliased(Certificate)  # the query around it may join certificates itself
        theirs = exists().where(
            used_for.number == Form.certificate, used_for.exporter.in_(self.principals)
        )
        free = Form.certificate.is_(None)
        return or_(
            Stock.owner.in_(self.principals), and_(Stock.owner == self.sender, or_(free, theirs))
        )

    @property
    def batches(self) -> Any:
        """Condition on `Batch`."""
        return or_(Batch.made_by_id == self.person_id, Batch.exporter.in_(self.principals))

    def sees(self, batch: Batch) -> bool:
        """The same of one that is loaded."""
        return batch.made_by_id == self.person_id or batch.exporter in self.principals


def sight_of(actor: Actor, sender: str) -> Sight | None:
    """What the actor sees; None: everything."""
    if actor.principals is None:
        return None
    return Sight(actor.person_id, actor.principals, sender)


def require_seen(sight: Sight | None, batch: Batch | None, batch_id: int) -> Batch:
    """The batch. Raises `BatchNotFound` where there is none, and in the same words where it is another's."""
    if batch is None or (sight is not None and not sight.sees(batch)):
        raise BatchNotFound(batch=batch_id)
    return batch


def limit_of_maker(session: Session, batch: Batch) -> frozenset[str] | None:
    """The enterprises that the batch's maker works for now; None: all. A plan is made by it, whoever looks."""
    maker = session.get(Person, batch.made_by_id) if batch.made_by_id is not None else None
    return None if maker is None or maker.principals is None else frozenset(maker.principals)


def one_exporter(session: Session, batch_id: int) -> str | None:
    """The exporter of all certificates that the batch's rows name; None where there are several, or where one is not
    known: it may turn out to be of anybody.
    """
    lowest, highest, known, rows = session.execute(
        select(
            func.min(Certificate.exporter),
            func.max(Certificate.exporter),
            func.count(Certificate.number),
            func.count(),
        )
        .select_from(BatchRow)
        .outerjoin(Certificate, BatchRow.certificate == Certificate.number)
        .where(BatchRow.batch_id == batch_id, BatchRow.status != RowStatus.SKIPPED)
    ).one()
    return lowest if lowest == highest and known == rows else None
