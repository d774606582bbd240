"""Which forms are verified for a certificate: one question, answered here for the check, a top-up, the
night and the display.

Counted are forms that are verified, at customs for it, under way or reserved; those verified outside us
(adopted, or listed by the newest night and not adopted yet); and those used before us (`PastUse`). Voided,
lost, held and refused forms never count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import FromClause, String, and_, func, literal, or_, select, union_all
from sqlalchemy.orm import Session

from models.rules.differences import DifferenceClass
from models.rules.states import Action, FormState, ItemState, RepairState
from models.rules.verdicts import CustomsState
from models.tables.batches import Item
from models.tables.bulk import chunks, rows_table
from models.tables.forms import Form
from models.tables.reconciliation import Difference, PastUse, Repair

COUNTS_AS_VERIFIED = or_(
    Form.state.in_([FormState.VERIFIED, FormState.VERIFY_SUBMITTED]),
    and_(Form.state == FormState.RESERVED, Item.action == Action.VERIFY),
)
"""Of a form that belongs to a certificate, joined with its held item."""


def ours_and_elsewhere(given: FromClause) -> FromClause:
    """(certificate, ours, elsewhere) of the certificates in `given.c.certificate` that have any forms."""
    wanted = given.c.certificate
    ours = (
        select(
            wanted.label("certificate"), func.count().label("ours"), literal(0).label("elsewhere")
        )
        .join(Form, Form.certificate == wanted)
        .outerjoin(Item, and_(Item.form_id == Form.id, Item.state == ItemState.UNDER_WAY))
        .where(COUNTS_AS_VERIFIED)
        .group_by(wanted)
    )
    past = (
        select(wanted, literal(0), func.count())
        .join(PastUse, PastUse.certificate == wanted)
        .where(PastUse.customs_state == CustomsState.VERIFIED)
        .group_by(wanted)
    )
    newest = select(func.max(Difference.run_id)).scalar_subquery()
    outside = (
        select(wanted, literal(0), func.sum(Difference.form_count))
        .join(Difference, Difference.customs_certificate == wanted)
        .outerjoin(Repair, Repair.difference_id == Difference.id)
        .where(
            Difference.run_id == newest,
            Difference.kind == DifferenceClass.OUTSIDE,
            Difference.customs_state == CustomsState.VERIFIED,
            func.coalesce(Repair.state, "") != RepairState.DONE.value,
            or_(  # reserved for the same certificate: counted as ours already
                Difference.state != FormState.RESERVED,
                func.coalesce(Difference.certificate, "") != Difference.customs_certificate,
            ),
        )
        .group_by(wanted)
    )
    parts = union_all(ours, past, outside).subquery("uses")
    certificate, own, other = parts.c
    return (
        select(
            certificate.label("certificate"),
            func.sum(own).label("ours"),
            func.sum(other).label("elsewhere"),
        )
        .group_by(certificate)
        .subquery("certificate_use")
    )


def verified_counts(session: Session, certificates: Iterable[str]) -> dict[str, int]:
    """How many forms are verified for each of these certificates; those with none are left out."""
    counts: dict[str, int] = {}
    for chunk in chunks(sorted(set(certificates))):
        given = rows_table(session, {"certificate": String()}, [(c,) for c in chunk])
        use = ours_and_elsewhere(given)
        counts |= {
            number: int(ours) + int(elsewhere)
            for number, ours, elsewhere in session.execute(select(use))
        }
    return counts


def total(use: FromClause) -> Any:
    """The forms of a row of `ours_and_elsewhere`, 0 for a certificate without any."""
    return func.coalesce(use.c.ours, 0) + func.coalesce(use.c.elsewhere, 0)
