"""The plan's look at certificates: nobody orders past their pages, nobody orders the same twice.

The database finds the certificates of a batch where that could be; their rows are judged by
`models.plan.page_problems`, in the order of the sheet. Under the lock of the stocks this is what keeps
two batches at once from taking a certificate past its pages (invariant 13).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import String, and_, func, literal, or_, select, union, union_all
from sqlalchemy.orm import Session

from models.batches import Batch, BatchRow, Item
from models.bulk import chunks, rows_table
from models.certificate_use import ours_and_elsewhere, total, verified_counts
from models.page_planner import stock_owner
from models.plan import Lifted, LiveOrder, VerifyDemand, page_problems
from models.problems import Problem
from models.row_problems import add_problems
from models.states import Action, ItemState, PagesMode, RowStatus
from models.stock import Certificate, Form

CERTIFICATES_TOGETHER = 500


def check_pages(session: Session, batch: Batch) -> dict[int, int]:
    """Write the problems of rows that are right so far; gives the forms of counted rows that get another
    number than they say.
    """
    lifted = Lifted(again=bool(batch.again_reason), beyond=bool(batch.beyond_reason))
    other: dict[int, int] = {}
    for certificates in chunks(_suspects(session, batch.id), CERTIFICATES_TOGETHER):
        had = verified_counts(session, certificates)
        pages = _pages(session, certificates)
        live = _live_orders(session, batch.id, certificates)
        found: list[tuple[int, Sequence[Problem]]] = []
        for certificate, demands in _demands(session, batch.id, certificates).items():
            problems, wanted = page_problems(
                certificate,
                pages[certificate],
                had.get(certificate, 0),
                demands,
                live.get(certificate, ()),
                lifted,
            )
            found += sorted(problems.items())
            counted = {d.row_number: d.counted for d in demands if d.counted is not None}
            other |= {n: wanted[n] for n, said in counted.items() if wanted.get(n, said) != said}
        add_problems(session, batch, found)
    return other


def _suspects(session: Session, batch_id: int) -> list[str]:
    """Certificates whose rows must be judged: all others are plainly within their pages, and once here."""
    ok = and_(BatchRow.batch_id == batch_id, BatchRow.status == RowStatus.OK)
    named = _named(batch_id)
    counted = select(
        BatchRow.certificate, BatchRow.page_count.label("forms"), literal(1).label("counted")
    ).where(ok, BatchRow.page_count.is_not(None))
    rows = union_all(named, counted).subquery("demand")
    wants = (
        select(
            rows.c.certificate,
            func.sum(rows.c.forms).label("forms"),
            func.sum(rows.c.counted).label("counts"),
            func.count().label("rows"),
        )
        .group_by(rows.c.certificate)
        .cte("wants")
    )
    given = select(wants.c.certificate).subquery("given")
    use = ours_and_elsewhere(given)
    beyond = (
        select(wants.c.certificate)
        .join(Certificate, Certificate.number == wants.c.certificate)
        .outerjoin(use, use.c.certificate == wants.c.certificate)
        .where(
            or_(
                wants.c.forms + total(use) > Certificate.pages,
                wants.c.counts > 1,
                and_(wants.c.counts > 0, wants.c.rows > 1, Certificate.pages.is_(None)),
                and_(wants.c.counts > 0, total(use) > 0),
                and_(wants.c.rows > 0, total(use) > 0, Certificate.pages.is_(None)),
            )
        )
    )
    more = (
        select(BatchRow.certificate)
        .where(ok, BatchRow.page_count.is_not(None), BatchRow.pages_mode == PagesMode.TOP_UP)
        .join(wants, wants.c.certificate == BatchRow.certificate)
        .where(wants.c.rows > 1)
    )
    return sorted(session.scalars(union(beyond, more)))


def _named(batch_id: int) -> Any:
    """(certificate, forms, 0) of each right row that names serials to verify."""
    return (
        select(Item.certificate, func.count().label("forms"), literal(0).label("counted"))
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .where(
            Item.batch_id == batch_id,
            Item.named,
            Item.action == Action.VERIFY,
            BatchRow.status == RowStatus.OK,
        )
        .group_by(Item.certificate, Item.row_number)
    )


def _given(session: Session, certificates: Sequence[str]) -> Any:
    return rows_table(session, {"certificate": String()}, [(c,) for c in certificates])


def _pages(session: Session, certificates: Sequence[str]) -> dict[str, int | None]:
    given = _given(session, certificates)
    found = session.execute(
        select(Certificate.number, Certificate.pages).join(
            given, given.c.certificate == Certificate.number
        )
    )
    return {number: pages for number, pages in found}  # noqa: C416 - rows are no pairs for the types


def _demands(
    session: Session, batch_id: int, certificates: Sequence[str]
) -> Mapping[str, list[VerifyDemand]]:
    """What the right rows of these certificates want verified, in the order of the sheet."""
    given = _given(session, certificates)
    named = (
        select(Item.row_number, func.count().label("forms"))
        .where(Item.batch_id == batch_id, Item.named, Item.action == Action.VERIFY)
        .where(Item.certificate.in_(select(given.c.certificate)))
        .group_by(Item.row_number)
        .subquery("named")
    )
    rows = session.execute(
        select(
            BatchRow.number,
            BatchRow.certificate,
            BatchRow.page_count,
            BatchRow.pages_mode,
            BatchRow.reference,
            stock_owner().label("owner"),
            func.coalesce(named.c.forms, 0).label("named"),
        )
        .join(given, given.c.certificate == BatchRow.certificate)
        .join(Certificate, Certificate.number == BatchRow.certificate)
        .outerjoin(named, named.c.row_number == BatchRow.number)
        .where(
            BatchRow.batch_id == batch_id,
            BatchRow.status == RowStatus.OK,
            or_(BatchRow.page_count.is_not(None), named.c.forms > 0),
        )
        .order_by(BatchRow.number)
    )
    demands: dict[str, list[VerifyDemand]] = defaultdict(list)
    for r in rows:
        demands[r.certificate].append(
            VerifyDemand(r.number, r.named, r.page_count, r.pages_mode, r.owner, r.reference)
        )
    return demands


def _live_orders(
    session: Session, batch_id: int, certificates: Sequence[str]
) -> Mapping[str, list[LiveOrder]]:
    """Rows of other batches whose forms are reserved, under way or at customs to be verified."""
    given = _given(session, certificates)
    rows = session.execute(
        select(
            BatchRow.certificate,
            BatchRow.batch_id,
            BatchRow.number,
            BatchRow.page_count,
            BatchRow.reference,
            stock_owner().label("owner"),
        )
        .select_from(given)
        .join(Form, Form.certificate == given.c.certificate)
        .join(Item, and_(Item.form_id == Form.id, Item.state == ItemState.HELD))
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .join(Certificate, Certificate.number == BatchRow.certificate)
        .where(
            Item.batch_id != batch_id,
            Item.action == Action.VERIFY,
            BatchRow.pages_mode == PagesMode.ADDITIONAL,
        )
        .distinct()
        .order_by(BatchRow.batch_id, BatchRow.number)
    )
    live: dict[str, list[LiveOrder]] = defaultdict(list)
    for r in rows:
        counted = r.page_count is not None
        live[r.certificate].append(LiveOrder(r.batch_id, r.number, counted, r.owner, r.reference))
    return live
