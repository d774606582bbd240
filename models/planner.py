"""The plan of a batch, made in the database: facts to the rules of `models.plan`, and back.

Facts come in bounded chunks, one statement for each kind of fact; what the rules say is written
the same way. Writes rows, problems and planned items of its own batch, never a reservation. Made
again it gives the same plan for the same stock, which is how a reservation under lock is compared
with what a person confirmed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    Integer,
    String,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session

from models.base import Serial
from models.batches import Batch, BatchRow, Item
from models.bulk import CHUNK, chunks, json_of_text, rows_table
from models.plan import (
    AvailableForm,
    CertificateFacts,
    FormFacts,
    NamedForm,
    OtherMention,
    PageDemand,
    PlanLine,
    RowFacts,
    Taking,
    certificate_problems,
    duplicate_problems,
    plan_hash,
    serial_problems,
    take_pages,
)
from models.problems import Problem, column_letters
from models.states import (
    Action,
    FormState,
    ItemState,
    PagesMode,
    RowStatus,
    StockSource,
)
from models.stock import Block, Certificate, Form, Stock


def make_plan(session: Session, batch: Batch) -> str:
    """Check every row of the batch in this transaction; gives the hash of what would be done."""
    session.execute(delete(Item).where(Item.batch_id == batch.id, ~Item.named))
    _link_named_forms(session, batch.id)
    for rows in _row_chunks(session, batch.id):
        _check_rows(session, batch, rows)
    _plan_pages(session, batch)
    return plan_hash(_plan_lines(session, batch.id))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with its certificate, as loaded for the check."""

    facts: RowFacts
    pages_mode: PagesMode
    status: RowStatus
    stored_problems: list[Any]
    read_problems: list[Any]
    certificate: CertificateFacts | None


def _link_named_forms(session: Session, batch_id: int) -> None:
    """Point each named serial at the form of that serial and the certificate's type, if any."""
    session.execute(
        update(Item)
        .where(
            Item.batch_id == batch_id,
            Certificate.number == Item.certificate,
            Form.serial == Item.serial,
            Form.form_type == Certificate.type,
        )
        .values(form_id=Form.id)
        .execution_options(synchronize_session=False)
    )


def _row_chunks(session: Session, batch_id: int) -> Iterator[list[_Row]]:
    last = 0
    while True:
        found = session.execute(
            select(
                BatchRow.number,
                BatchRow.certificate,
                BatchRow.stock_source,
                BatchRow.page_count,
                BatchRow.pages_mode,
                BatchRow.status,
                BatchRow.problems,
                BatchRow.read_problems,
                Certificate.type,
                Certificate.exporter,
                Certificate.agent,
                Certificate.status.label("certificate_status"),
            )
            .outerjoin(Certificate, Certificate.number == BatchRow.certificate)
            .where(
                BatchRow.batch_id == batch_id,
                BatchRow.number > last,
                BatchRow.status != RowStatus.SKIPPED,
            )
            .order_by(BatchRow.number)
            .limit(CHUNK)
        ).all()
        if not found:
            return
        last = found[-1].number
        yield [
            _Row(
                RowFacts(r.number, r.certificate, r.stock_source, r.page_count),
                r.pages_mode,
                r.status,
                r.problems,
                r.read_problems,
                None
                if r.exporter is None
                else CertificateFacts(
                    r.certificate, r.type, r.exporter, r.agent, r.certificate_status
                ),
            )
            for r in found
        ]


def _check_rows(session: Session, batch: Batch, rows: Sequence[_Row]) -> None:
    bounds = (rows[0].facts.number, rows[-1].facts.number)
    named = _named_forms(session, batch.id, bounds)
    mentions = _mentions(session, batch.id, bounds)
    changed: list[tuple[int, RowStatus, list[Any]]] = []
    for row in rows:
        number = row.facts.number
        found = certificate_problems(row.facts, row.certificate)
        found += serial_problems(row.facts, row.certificate, named.get(number, ()))
        found += duplicate_problems(row.facts, mentions.get(number, ()))
        problems = row.read_problems + [p.stored() for p in _placed(batch, number, found)]
        status = RowStatus.PROBLEM if problems else RowStatus.OK
        if status is not row.status or problems != row.stored_problems:
            changed.append((number, status, problems))
    _store(session, batch.id, changed)


def _named_forms(
    session: Session, batch_id: int, bounds: tuple[int, int]
) -> dict[int, list[NamedForm]]:
    """The serials that these rows name, with the forms of each, by row."""
    found = session.execute(
        select(
            Item.row_number,
            Item.serial,
            Form.id,
            Form.form_type,
            Form.state,
            Form.hold,
            Stock.owner,
        )
        .outerjoin(Form, Form.id == Item.form_id)
        .outerjoin(Stock, Stock.id == Form.stock_id)
        .where(Item.batch_id == batch_id, Item.named, Item.row_number.between(*bounds))
        .order_by(Item.row_number, Item.position)
    ).all()
    unlinked = {r.serial for r in found if r.id is None}
    others = _forms_of_any_type(session, unlinked)
    named: dict[int, list[NamedForm]] = defaultdict(list)
    for r in found:
        candidates = (
            others.get(r.serial, [])
            if r.id is None
            else [FormFacts(r.form_type, r.owner, r.state, r.hold)]
        )
        named[r.row_number].append(NamedForm(r.serial, candidates))
    return named


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
    session: Session, batch_id: int, bounds: tuple[int, int]
) -> dict[int, list[OtherMention]]:
    """Where else in the file the serials of these rows are named, by row: one place for each.

    One group for each serial that is named more than once, so a serial filled down a whole column
    costs no more than any other.
    """
    here = select(Item.serial).where(
        Item.batch_id == batch_id, Item.named, Item.row_number.between(*bounds)
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
        .where(Item.batch_id == batch_id, Item.named, Item.row_number.between(*bounds))
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


def _placed(batch: Batch, number: int, problems: Sequence[Problem]) -> list[Problem]:
    """The problems with the column and cell of the sheet that they are in."""
    placed = []
    for problem in problems:
        names = (problem.field, *_STAND_INS.get(problem.field, ()))
        index = next((batch.columns[n] for n in names if n in batch.columns), None)
        if index is None:
            placed.append(problem)
        else:
            cell = f"{column_letters(index)}{number}"
            placed.append(replace(problem, column=batch.header[index], cell=cell))
    return placed


_STAND_INS: Final = {"serial": ("first_serial", "void_serials")}
"""Where serials are when the sheet has no column of that name."""


def _store(
    session: Session, batch_id: int, rows: Sequence[tuple[int, RowStatus, list[Any]]]
) -> None:
    if not rows:
        return
    given = rows_table(
        session,
        {"number": Integer(), "status": String(), "problems": String()},
        [(number, status.value, json.dumps(problems)) for number, status, problems in rows],
    )
    session.execute(
        update(BatchRow)
        .where(BatchRow.batch_id == batch_id, BatchRow.number == given.c.number)
        .values(status=given.c.status, problems=json_of_text(session, given.c.problems))
        .execution_options(synchronize_session=False)
    )


# -- page counts --------------------------------------------------------------------------------


def _stock_owner() -> Any:
    return case(
        (BatchRow.stock_source == StockSource.EXPORTER, Certificate.exporter),
        else_=Certificate.agent,
    )


def _plan_pages(session: Session, batch: Batch) -> None:
    """Give every page count its serials, stock by stock, lowest first."""
    page_rows = (
        select(BatchRow.number)
        .join(Certificate, Certificate.number == BatchRow.certificate)
        .where(
            BatchRow.batch_id == batch.id,
            BatchRow.status == RowStatus.OK,
            BatchRow.page_count.is_not(None),
        )
    )
    stocks = session.execute(
        page_rows.with_only_columns(_stock_owner().label("owner"), Certificate.type)
        .distinct()
        .order_by("owner", Certificate.type)
    ).all()
    short: dict[str, Taking] = {}
    for owner, form_type in stocks:
        of_stock = page_rows.where(_stock_owner() == owner, Certificate.type == form_type)
        demands = _page_demands(session, batch, of_stock)
        repeated = (
            of_stock.with_only_columns(BatchRow.certificate, func.sum(BatchRow.page_count))
            .where(BatchRow.pages_mode == PagesMode.ADDITIONAL)
            .group_by(BatchRow.certificate)
            .having(func.count() > 1)
        )
        totals = {c: int(wanted or 0) for c, wanted in session.execute(repeated)}
        available = _available_forms(session, batch.id, owner, form_type)
        for takings in chunks(take_pages(demands, totals, available)):
            _store_takings(session, batch, takings)
            short |= {t.demand.certificate: t for t in takings if not t.forms}
    _refuse_rest_of(session, batch, short)


def _refuse_rest_of(session: Session, batch: Batch, short: dict[str, Taking]) -> None:
    """All of a certificate's pages or none, whichever stocks they were to come from."""
    for certificates in chunks(sorted(short)):
        given = rows_table(session, {"number": String()}, [(c,) for c in certificates])
        rest = session.execute(
            select(BatchRow.number, BatchRow.certificate)
            .join(given, given.c.number == BatchRow.certificate)
            .where(
                BatchRow.batch_id == batch.id,
                BatchRow.status == RowStatus.OK,
                BatchRow.page_count.is_not(None),
            )
        ).all()
        for rows in chunks(rest):
            numbers = rows_table(session, {"number": Integer()}, [(r.number,) for r in rows])
            session.execute(
                delete(Item).where(
                    Item.batch_id == batch.id,
                    ~Item.named,
                    Item.row_number.in_(select(numbers.c.number)),
                )
            )
            _add_problems(
                session, batch, [(r.number, _stock_short(short[r.certificate])) for r in rows]
            )


def _stock_short(taking: Taking) -> Problem:
    values = {"wanted": taking.certificate_wants, "available": taking.available}
    return Problem("stock_short", "page_count", values=values)


def _page_demands(session: Session, batch: Batch, of_stock: Any) -> Iterator[PageDemand]:
    """The page counts of one stock in row order; a top-up counts what the certificate has."""
    last = 0
    added: dict[str, int] = {}
    while True:
        rows = session.execute(
            of_stock.with_only_columns(
                BatchRow.number, BatchRow.certificate, BatchRow.page_count, BatchRow.pages_mode
            )
            .where(BatchRow.number > last)
            .order_by(BatchRow.number)
            .limit(CHUNK)
        ).all()
        if not rows:
            return
        last = rows[-1].number
        topped = {r.certificate for r in rows if r.pages_mode is PagesMode.TOP_UP} - added.keys()
        for certificate in topped:
            added[certificate] = 0
        for certificate, count in _verify_counts(session, batch.id, topped):
            added[certificate] += count
        done: list[int] = []
        for row in rows:
            wanted = row.page_count
            if row.pages_mode is PagesMode.TOP_UP:
                wanted = max(0, wanted - added[row.certificate])
                added[row.certificate] += wanted
            if wanted:
                yield PageDemand(row.number, row.certificate, wanted)
            else:
                done.append(row.number)
        nothing = Problem("nothing_to_do", "page_count")
        _add_problems(session, batch, [(number, nothing) for number in done])


def _verify_counts(
    session: Session, batch_id: int, certificates: set[str]
) -> Iterator[tuple[str, int]]:
    """Forms that a certificate has for verification: done, under way, or named in this file."""
    if not certificates:
        return
    given = rows_table(session, {"certificate": String()}, [(c,) for c in sorted(certificates)])
    used = (
        select(given.c.certificate, func.count())
        .join(Form, Form.certificate == given.c.certificate)
        .outerjoin(Item, and_(Item.form_id == Form.id, Item.state == ItemState.HELD))
        .where(
            or_(
                Form.state.in_([FormState.VERIFIED, FormState.VERIFY_SUBMITTED]),
                and_(Form.state == FormState.RESERVED, Item.action == Action.VERIFY),
            )
        )
        .group_by(given.c.certificate)
    )
    named = (
        select(Item.certificate, func.count())
        .join(given, given.c.certificate == Item.certificate)
        .join(
            BatchRow,
            and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number),
        )
        .where(
            Item.batch_id == batch_id,
            Item.named,
            Item.action == Action.VERIFY,
            BatchRow.status == RowStatus.OK,
        )
        .group_by(Item.certificate)
    )
    for query in (used, named):
        yield from session.execute(query).all()


def _available_forms(
    session: Session, batch_id: int, owner: str, form_type: str
) -> Iterator[AvailableForm]:
    """Forms of a stock that a page count may take, ascending; not those that the file names."""
    named = (
        select(Item.id)
        .where(Item.batch_id == batch_id, Item.named, Item.serial == Form.serial)
        .exists()
    )
    blocks = session.execute(
        select(Block.id, Block.lowest_free)
        .join(Stock, Stock.id == Block.stock_id)
        .where(Stock.owner == owner, Stock.form_type == form_type, Block.lowest_free.is_not(None))
        .order_by(Block.first_serial)
    ).all()
    for block_id, lowest_free in blocks:
        after = lowest_free
        inclusive = True
        while True:
            forms = session.execute(
                select(Form.id, Form.serial, Form.state, Form.hold, named.label("named"))
                .where(
                    Form.block_id == block_id,
                    Form.serial >= after if inclusive else Form.serial > after,
                )
                .order_by(Form.serial)
                .limit(CHUNK)
            ).all()
            for form in forms:
                if form.state is FormState.ISSUED and form.hold is None and not form.named:
                    yield AvailableForm(form.id, form.serial)
            if len(forms) < CHUNK:
                break
            after, inclusive = forms[-1].serial, False


def _store_takings(session: Session, batch: Batch, takings: Sequence[Taking]) -> None:
    items = [
        {
            "batch_id": batch.id,
            "row_number": taking.demand.row_number,
            "position": position,
            "serial": form.serial,
            "action": Action.VERIFY,
            "certificate": taking.demand.certificate,
            "named": False,
            "state": ItemState.PLANNED,
            "form_id": form.form_id,
        }
        for taking in takings
        for position, form in enumerate(taking.forms, start=1)
    ]
    if items:
        session.execute(insert(Item), items)
    short = [(t.demand.row_number, _stock_short(t)) for t in takings if not t.forms]
    _add_problems(session, batch, short)


def _add_problems(session: Session, batch: Batch, found: Sequence[tuple[int, Problem]]) -> None:
    """Rows that were right until their page count was looked at."""
    _store(
        session,
        batch.id,
        [
            (number, RowStatus.PROBLEM, [p.stored() for p in _placed(batch, number, [problem])])
            for number, problem in found
        ],
    )


def _plan_lines(session: Session, batch_id: int) -> Iterator[PlanLine]:
    found = session.execute(
        select(
            Item.row_number,
            Item.certificate,
            Item.action,
            Item.serial,
            Stock.owner,
            BatchRow.reason_code,
            BatchRow.reason_text,
        )
        .join(
            BatchRow,
            and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number),
        )
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(Item.batch_id == batch_id, BatchRow.status == RowStatus.OK)
        .order_by(Item.row_number, Item.position)
        .execution_options(yield_per=CHUNK)
    )
    for r in found:
        reason = f"{r.reason_code or ''} {r.reason_text or ''}"
        yield PlanLine(r.row_number, r.certificate, r.action, r.serial, r.owner, reason)
