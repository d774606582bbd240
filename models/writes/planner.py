"""The plan of a batch, made in the database: facts to the rules of `models.rules.plan`, and back.

Facts come in bounded chunks, one statement for each kind of fact; what the rules say is written
the same way. Writes rows, problems and planned items of its own batch, never a reservation. Made
again it gives the same plan for the same stock, which is how a reservation under lock is compared
with what a person confirmed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    Integer,
    String,
    and_,
    case,
    cast,
    delete,
    false,
    func,
    or_,
    select,
    type_coerce,
    union,
    update,
)
from sqlalchemy.orm import Session

from models.reads.sight import limit_of_maker
from models.rules.plan import (
    CERTIFICATE_APPROVED,
    CertificateFacts,
    FormFacts,
    NamedForm,
    OtherMention,
    RowFacts,
    certificate_problems,
    duplicate_problems,
    plan_hash,
    serial_problems,
)
from models.rules.states import FormState, RowStatus, StockSource
from models.tables.base import Serial
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import CHUNK, chunks, rows_table
from models.tables.certificates import Certificate
from models.tables.forms import Form, FormEvent, Stock
from models.writes.page_counts import plan_pages
from models.writes.page_limits import check_pages
from models.writes.row_problems import placed, store_rows
from models.writes.steps import Steps


def make_plan(steps: Steps, batch: Batch) -> str:
    """Check every row of the batch; gives the hash of what would be done.

    In one transaction it is the plan of one moment. In many, what others take meanwhile may be in it still:
    whoever reserves looks again.
    """
    with steps.read() as session:
        last = session.scalar(
            select(func.max(BatchRow.number)).where(BatchRow.batch_id == batch.id)
        )
    for low in range(1, (last or 0) + 1, ROWS_A_STEP):
        with steps.write() as session:
            _begin(session, batch.id, low, low + ROWS_A_STEP - 1)
    with steps.read() as session:
        limit = limit_of_maker(session, batch)
        suspects = _suspects(session, batch.id, limit)
    for numbers in chunks(suspects):
        with steps.write() as session:
            _check_rows(session, batch, _rows(session, batch.id, numbers, limit), limit)
    plan_pages(steps, batch, check_pages(steps, batch))
    with steps.read() as session:
        return plan_hash(chain([batch.order_key or ""], _plan_lines(session, batch.id)))


ROWS_A_STEP: Final = 2000


def _begin(session: Session, batch_id: int, low: int, high: int) -> None:
    """Forget what page counts had been given, and find the forms that are named, of these rows."""
    session.execute(
        delete(Item).where(
            Item.batch_id == batch_id, Item.row_number.between(low, high), ~Item.named
        )
    )
    _link_named_forms(session, batch_id, low, high)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with its certificate, as loaded for the check."""

    facts: RowFacts
    status: RowStatus
    stored_problems: list[Any]
    read_problems: list[Any]
    certificate: CertificateFacts | None


def _link_named_forms(session: Session, batch_id: int, low: int, high: int) -> None:
    """Point each named serial at the form of that serial and the certificate's type, if any."""
    session.execute(
        update(Item)
        .where(
            Item.batch_id == batch_id,
            Item.row_number.between(low, high),
            Certificate.number == Item.certificate,
            Form.serial == Item.serial,
            Form.form_type == Certificate.type,
        )
        .values(form_id=Form.id)
    )


def _suspects(session: Session, batch_id: int, limit: frozenset[str] | None) -> list[int]:
    """Numbers of the rows that the rules must look at: the database leaves out what is plainly right.

    A row that is not among them has an approved certificate and names, once in the file, issued
    forms of the parties' stock; whatever it is, it was right at its last check too.
    """
    asked_for = case(
        (BatchRow.stock_source == StockSource.EXPORTER, Certificate.exporter),
        (BatchRow.stock_source == StockSource.AGENT, Certificate.agent),
    )
    of_batch = and_(BatchRow.batch_id == batch_id, BatchRow.status != RowStatus.SKIPPED)
    rows = (
        select(BatchRow.number)
        .outerjoin(Certificate, Certificate.number == BatchRow.certificate)
        .where(
            of_batch,
            or_(
                BatchRow.status == RowStatus.PROBLEM,
                Certificate.number.is_(None),
                Certificate.status != CERTIFICATE_APPROVED,
                false() if limit is None else Certificate.exporter.not_in(limit),
                and_(
                    BatchRow.stock_source == StockSource.AGENT,
                    Certificate.exporter == Certificate.agent,
                ),
            ),
        )
    )
    forms = (
        select(Item.row_number)
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .outerjoin(Certificate, Certificate.number == Item.certificate)
        .outerjoin(Form, Form.id == Item.form_id)
        .outerjoin(Stock, Stock.id == Form.stock_id)
        .where(
            Item.batch_id == batch_id,
            Item.named,
            or_(
                Form.id.is_(None),
                Form.state != FormState.ISSUED,
                Form.hold.is_not(None),
                Stock.owner.not_in([Certificate.exporter, Certificate.agent]),
                Stock.owner != asked_for,
            ),
        )
    )
    of_file = and_(Item.batch_id == batch_id, Item.named)
    twice = select(Item.serial).where(of_file).group_by(Item.serial).having(func.count() > 1)
    repeats = select(Item.row_number).where(of_file, Item.serial.in_(twice))
    return sorted(session.scalars(union(rows, forms, repeats)))


def _rows(
    session: Session, batch_id: int, numbers: Sequence[int], limit: frozenset[str] | None
) -> list[_Row]:
    """Rows with their certificates; one of an exporter that the maker does not work for is not known to them."""
    given = rows_table(session, {"number": Integer()}, [(n,) for n in numbers])
    found = session.execute(
        select(
            BatchRow.number,
            BatchRow.certificate,
            BatchRow.stock_source,
            BatchRow.page_count,
            BatchRow.reason_code,
            BatchRow.status,
            BatchRow.problems,
            BatchRow.read_problems,
            Certificate.type,
            Certificate.exporter,
            Certificate.agent,
            Certificate.status.label("certificate_status"),
        )
        .join(given, given.c.number == BatchRow.number)
        .outerjoin(Certificate, Certificate.number == BatchRow.certificate)
        .where(BatchRow.batch_id == batch_id)
        .order_by(BatchRow.number)
    )
    return [
        _Row(
            RowFacts(r.number, r.certificate, r.stock_source, r.page_count, r.reason_code),
            r.status,
            r.problems,
            r.read_problems,
            None
            if r.exporter is None or (limit is not None and r.exporter not in limit)
            else CertificateFacts(r.certificate, r.type, r.exporter, r.agent, r.certificate_status),
        )
        for r in found
    ]


def _check_rows(
    session: Session, batch: Batch, rows: Sequence[_Row], limit: frozenset[str] | None
) -> None:
    numbers = [row.facts.number for row in rows]
    named = _named_forms(session, batch.id, numbers)
    if limit is not None:
        named = _seen(named, rows, limit)
    mentions = _mentions(session, batch.id, numbers)
    changed: list[tuple[int, RowStatus, list[Any]]] = []
    for row in rows:
        number = row.facts.number
        found = certificate_problems(row.facts, row.certificate)
        found += serial_problems(row.facts, row.certificate, named.get(number, ()))
        found += duplicate_problems(row.facts, mentions.get(number, ()))
        problems = row.read_problems + [p.stored() for p in placed(batch, number, found)]
        status = RowStatus.PROBLEM if problems else RowStatus.OK
        if status is not row.status or problems != row.stored_problems:
            changed.append((number, status, problems))
    store_rows(session, batch.id, changed)


def _named_forms(
    session: Session, batch_id: int, numbers: Sequence[int]
) -> dict[int, list[NamedForm]]:
    """The serials that these rows name, with the forms of each, by row."""
    these = _these(session, numbers)
    since = (
        select(FormEvent.at)
        .where(FormEvent.form_id == Form.id)
        .order_by(FormEvent.id.desc())
        .limit(1)
        .correlate(Form)
        .scalar_subquery()
    )
    found = session.execute(
        select(
            Item.row_number,
            Item.serial,
            Form.id,
            Form.form_type,
            Form.state,
            Form.hold,
            Form.lost_at,
            Form.certificate,
            since.label("since"),
            Item.action,
            Stock.owner,
        )
        .outerjoin(Form, Form.id == Item.form_id)
        .outerjoin(Stock, Stock.id == Form.stock_id)
        .where(Item.batch_id == batch_id, Item.named, Item.row_number.in_(these))
        .order_by(Item.row_number, Item.position)
    ).all()
    unlinked = {r.serial for r in found if r.id is None}
    others = _forms_of_any_type(session, unlinked)
    named: dict[int, list[NamedForm]] = defaultdict(list)
    for r in found:
        candidates = (
            others.get(r.serial, [])
            if r.id is None
            else [
                FormFacts(
                    r.form_type,
                    r.owner,
                    r.state,
                    r.hold,
                    r.lost_at is not None,
                    r.certificate,
                    f"{r.since:%Y-%m-%d}" if r.since else "",
                )
            ]
        )
        named[r.row_number].append(NamedForm(r.serial, candidates, r.action))
    return named


def _seen(
    named: dict[int, list[NamedForm]], rows: Sequence[_Row], limit: frozenset[str]
) -> dict[int, list[NamedForm]]:
    """Forms in stocks that the maker may draw from, and nothing of what others are used for."""
    seen: dict[int, list[NamedForm]] = {}
    for row in rows:
        number = row.certificate.number if row.certificate else None
        owners = limit | ({row.certificate.agent} if row.certificate else set())
        seen[row.facts.number] = [
            replace(
                form,
                candidates=[
                    c if c.certificate in {None, number} else replace(c, certificate="")
                    for c in form.candidates
                    if c.owner in owners
                ],
            )
            for form in named.get(row.facts.number, ())
        ]
    return seen


def _these(session: Session, numbers: Sequence[int]) -> Any:
    """Row numbers as a subquery."""
    return select(rows_table(session, {"number": Integer()}, [(n,) for n in numbers]).c.number)


def _forms_of_any_type(session: Session, serials: set[str]) -> dict[str, list[FormFacts]]:
    """Forms of serials that have none of the certificate's type (or no known certificate)."""
    forms: dict[str, list[FormFacts]] = defaultdict(list)
    for chunk in chunks(sorted(serials)):
        given = rows_table(session, {"serial": Serial}, [(s,) for s in chunk])
        for r in session.execute(
            select(Form.serial, Form.form_type, Form.state, Form.hold, Stock.owner)
            .join(given, given.c.serial == Form.serial)
            .join(Stock, Stock.id == Form.stock_id)
            .order_by(Form.serial, Form.form_type)
        ):
            forms[r.serial].append(FormFacts(r.form_type, r.owner, r.state, r.hold))
    return forms


def _mentions(
    session: Session, batch_id: int, numbers: Sequence[int]
) -> dict[int, list[OtherMention]]:
    """Where else in the file the serials of these rows are named, by row: one place for each.

    One group for each serial that is named more than once, so a serial filled down a whole column
    costs no more than any other.
    """
    these = _these(session, numbers)
    here = select(Item.serial).where(
        Item.batch_id == batch_id, Item.named, Item.row_number.in_(these)
    )
    order = Item.certificate + "/" + type_coerce(Item.action, String())
    groups = session.execute(
        select(
            Item.serial,
            func.min(Item.row_number).label("first"),
            func.max(Item.row_number).label("last"),
            (func.min(order) == func.max(order)).label("same"),
        )
        .where(Item.batch_id == batch_id, Item.named, Item.serial.in_(here))
        .group_by(Item.serial)
        .having(func.count() > 1)
    ).all()
    if not groups:
        return {}
    by_serial = {g.serial: g for g in groups}
    found = session.execute(
        select(Item.row_number, Item.serial, func.count().label("times"))
        .where(Item.batch_id == batch_id, Item.named, Item.row_number.in_(these))
        .group_by(Item.row_number, Item.serial)
        .order_by(Item.row_number, Item.serial)
    )
    mentions: dict[int, list[OtherMention]] = defaultdict(list)
    for r in found:
        group = by_serial.get(r.serial)
        if group is None:
            continue
        elsewhere = group.first if r.row_number != group.first else group.last
        if group.same and r.row_number == group.first and r.times == 1:
            continue  # the first of several equal mentions is the one that counts
        if group.same and r.row_number == group.first:
            elsewhere = r.row_number
        mentions[r.row_number].append(OtherMention(r.serial, elsewhere, bool(group.same)))
    return mentions


def _plan_lines(session: Session, batch_id: int) -> Iterator[str]:
    """The lines of the plan's hash, made by the database: a large plan has a million of them."""
    row_number = cast(Item.row_number, String)
    order = Item.certificate + "|" + type_coerce(Item.action, String()) + "|" + Item.serial
    reason = func.coalesce(BatchRow.reason_code, "") + "|" + func.coalesce(BatchRow.reason_text, "")
    yield from session.scalars(
        select(row_number + "|" + order + "|" + Stock.owner + "|" + reason)
        .select_from(Item)
        .join(
            BatchRow,
            and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number),
        )
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(Item.batch_id == batch_id, BatchRow.status == RowStatus.OK)
        .order_by(Item.row_number, Item.serial)
        .execution_options(yield_per=CHUNK)
    )
