"""The plan's look at certificates: nobody orders past their pages, nobody orders the same twice.

Certificates where that could be are judged by `models.rules.plan.page_problems`, their rows in the order of
the sheet. Under the lock of the stocks this is what keeps
two batches at once from taking a certificate past its pages (invariant 13).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, String, and_, case, func, select, true, type_coerce
from sqlalchemy.orm import Session

from models.reads.certificate_use import verified_counts
from models.reads.plans import stock_owner
from models.rules.plan import Lifted, LiveOrder, VerifyDemand, page_problems
from models.rules.problems import Problem
from models.rules.states import Action, ItemState, PagesMode, RowStatus
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import CHUNK, chunks, rows_table
from models.tables.certificates import Certificate
from models.tables.forms import Form
from models.writes.row_problems import add_problems
from models.writes.steps import Steps

CERTIFICATES_TOGETHER: Final = 1000


def check_pages(steps: Steps, batch: Batch) -> dict[int, int]:
    """Write the problems of rows that are right so far; gives the forms of counted rows that get another
    number than they say.
    """
    with steps.read() as session:
        found, other = judge_pages(session, batch)
    for some in chunks(found):
        with steps.write() as session:
            add_problems(session, batch, some)
    return other


def judge_pages(
    session: Session, batch: Batch, numbers: Sequence[int] | None = None
) -> tuple[list[tuple[int, Sequence[Problem]]], dict[int, int]]:
    """The problems of rows that are right so far, and the forms of counted rows that get another number
    than they say. `numbers`: of these rows, which must be all of their certificates.

    One pass over the rows by certificate; what a certificate has is looked up by index, chunk by chunk.
    Memory: a chunk, and the problems found.
    """
    lifted = Lifted(again=bool(batch.again_reason), beyond=bool(batch.beyond_reason))
    other: dict[int, int] = {}
    found: list[tuple[int, Sequence[Problem]]] = []
    for wants in chunks(_by_certificate(session, batch.id, numbers), CERTIFICATES_TOGETHER):
        had = verified_counts(session, [w.certificate for w in wants])
        suspects = [w for w in wants if _is_suspect(w, had.get(w.certificate, 0))]
        live = _live_orders(session, batch.id, [w.certificate for w in suspects])
        for want in suspects:
            problems, forms = page_problems(
                want.certificate,
                want.pages,
                had.get(want.certificate, 0),
                want.demands,
                live.get(want.certificate, ()),
                lifted,
            )
            found += sorted(problems.items())
            said = {d.row_number: d.counted for d in want.demands if d.counted is not None}
            other |= {n: forms[n] for n, count in said.items() if forms.get(n, count) != count}
    return found, other


@dataclass(frozen=True, slots=True)
class _Wants:
    """What the right rows of a batch want verified for one certificate, in the order of the sheet."""

    certificate: str
    pages: int | None
    rows: Sequence[Any]
    """(certificate, pages, number, count, named, mode, reference, owner) of each, as loaded."""

    @property
    def demands(self) -> list[VerifyDemand]:
        """The rows as the rules take them."""
        return [
            VerifyDemand(number, named, count, PagesMode(mode), owner, reference)
            for _, _, number, count, named, mode, reference, owner in self.rows
        ]


def _is_suspect(want: _Wants, had: int) -> bool:
    """Whether its rows must be judged: all others are plainly within the pages, and once here."""
    forms, counts = had, 0
    for _, _, _, count, named, _, _, _ in want.rows:
        forms += named if count is None else count
        counts += count is not None
    if want.pages is not None and forms > want.pages:
        return True
    several = len(want.rows) > 1
    if counts and (had or counts > 1):
        return True
    mixed = want.pages is None and (had > 0 or (several and counts > 0))
    return mixed or (several and counts > 0 and want.rows[0][5] == PagesMode.TOP_UP.value)


def _by_certificate(
    session: Session, batch_id: int, numbers: Sequence[int] | None
) -> Iterator[_Wants]:
    these: ColumnElement[bool] = true()
    if numbers is not None:
        given = rows_table(session, {"number": Integer()}, [(n,) for n in numbers])
        these = BatchRow.number.in_(select(given.c.number))
    named = (
        select(func.count())
        .where(
            Item.batch_id == batch_id,
            Item.row_number == BatchRow.number,
            Item.named,
            Item.action == Action.VERIFY,
        )
        .correlate(BatchRow)
        .scalar_subquery()
    )
    rows = session.connection().execute(
        select(
            BatchRow.certificate,
            Certificate.pages,
            BatchRow.number,
            BatchRow.page_count,
            case((BatchRow.page_count.is_(None), named), else_=0),
            type_coerce(BatchRow.pages_mode, String()),
            BatchRow.reference,
            stock_owner(),
        )
        .join(Certificate, Certificate.number == BatchRow.certificate)
        .where(
            BatchRow.batch_id == batch_id,
            these,
            BatchRow.status == RowStatus.OK,
            func.coalesce(type_coerce(BatchRow.action, String()), "") != Action.VOID.value,
        )
        .order_by(BatchRow.certificate, BatchRow.number)
        .execution_options(yield_per=CHUNK)
    )
    for (certificate, pages), of_one in groupby(rows, key=itemgetter(0, 1)):
        found = [tuple(row) for row in of_one if row[3] is not None or row[4]]
        if found:
            yield _Wants(certificate, pages, found)


def _given(session: Session, certificates: Sequence[str]) -> Any:
    return rows_table(session, {"certificate": String()}, [(c,) for c in certificates])


def _live_orders(
    session: Session, batch_id: int, certificates: Sequence[str]
) -> Mapping[str, list[LiveOrder]]:
    """Rows of other batches whose forms are reserved, under way or at customs to be verified."""
    if not certificates:
        return {}
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
        .join(Item, and_(Item.form_id == Form.id, Item.state == ItemState.UNDER_WAY))
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
