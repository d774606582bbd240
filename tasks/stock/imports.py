"""Stock and certificates brought in: from sheets, or from customs' own lists.

Both are what every check rests on, so a file is taken whole or refused whole, and what is known
already is left as it is: importing twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import String, and_, case, func, insert, literal, select
from sqlalchemy.orm import Session

from customs.gateway import CustomsForm
from models.rules.calendar import business_date
from models.rules.causes import Cause
from models.rules.chain import GENESIS, EventFacts, event_hash
from models.rules.errors import CellsRefused, ListRefused
from models.rules.language import t
from models.rules.people import Deed, require
from models.rules.plan import CERTIFICATE_APPROVED
from models.rules.problems import Problem
from models.rules.serials import as_ranges, serials_between
from models.rules.standings import Standing
from models.rules.states import FormState
from models.rules.tallies import Movement, day_key, standing_key
from models.rules.verdicts import CustomsState
from models.tables.base import NO_KEY_UPDATE, Serial, UTCDateTime
from models.tables.bulk import chunks, insert_new, insert_rows, rows_table, upserting
from models.tables.certificates import Certificate
from models.tables.forms import Block, Form, FormEvent, Stock
from models.writes.acts import record_act
from models.writes.low_stock import count_soon
from models.writes.tallies import note_changes
from sheets.imports import (
    ISSUED_TOGETHER,
    CertificateRecord,
    IssuedRange,
    read_certificates,
    read_stock,
)
from sheets.questions import NO_ANSWERS, Answers
from tasks.context import Context
from tasks.lists import certificate_pages, form_pages, raise_refused

_SHOWN: Final = 10
FORMS_TOGETHER: Final = 5000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    new: int
    known: int


def import_stock(
    context: Context,
    content: bytes,
    file_name: str,
    answers: Answers = NO_ANSWERS,
    count: int | None = None,
) -> tuple[Imported, list[IssuedRange]]:
    """Take the issued ranges of a file into stock. Raises `FileError`: also for serials that are in
    somebody else's stock.
    """
    limit = context.settings.upload_max_mb << 20
    ranges = read_stock(content, file_name, limit, answers)
    _refuse_left_out(file_name, len(ranges), count)
    _refuse_forms_of_others(context, file_name, ranges)
    require(context.actor, Deed.STOCK_IMPORTED)
    if context.sight is not None:
        _refuse_others(file_name, {r.owner for r in ranges} - context.sight.principals)
    done = add_ranges(context, ranges, "sheet")
    _record_import(context, Deed.STOCK_IMPORTED, file_name, done)
    return done, ranges


def _refuse_others(file_name: str, others: Collection[str]) -> None:
    """Raise `CellsRefused` for enterprises that the actor does not work for: nothing of the file is taken."""
    if others:
        named = ", ".join(sorted(others)[:_SHOWN])
        detail = t(f"不在可办理的企业之内: {named}", f"not your enterprises: {named}")
        raise CellsRefused(file=file_name, detail=detail)


def _refuse_left_out(file_name: str, found: int, count: int | None) -> None:
    """Raise `CellsRefused` where a program said how many there are and not all of them are records."""
    if count is not None and found != count:
        detail = t(f"{count} 行中只有 {found} 行有效", f"{found} of {count} are records")
        raise CellsRefused(file=file_name, detail=detail)


def _record_import(context: Context, deed: Deed, file_name: str, done: Imported) -> None:
    """In a transaction of its own: what was imported stands, a second import finds it known."""
    with context.database.write() as session:
        record_act(
            session, context.actor, deed, file_name, context.now(), new=done.new, known=done.known
        )


def _refuse_forms_of_others(
    context: Context, file_name: str, ranges: Sequence[IssuedRange]
) -> None:
    conflicts: list[str] = []
    with context.database.read() as session:
        for issued in ranges:
            found = session.execute(
                select(Stock.owner, func.min(Form.serial), func.max(Form.serial), func.count())
                .join(Form, Form.stock_id == Stock.id)
                .where(
                    Form.form_type == issued.form_type,
                    Form.serial.between(issued.first_serial, issued.last_serial),
                    func.length(Form.serial) == len(issued.first_serial),
                    Stock.owner != issued.owner,
                )
                .group_by(Stock.owner)
            )
            conflicts += [
                Problem(
                    "stock_of_another_known",
                    values={"serials": f"{first}-{last}", "owner": owner, "count": count},
                ).message
                for owner, first, last, count in found
            ]
    if conflicts:
        raise CellsRefused(file=file_name, detail="; ".join(conflicts[:_SHOWN]))


def add_ranges(context: Context, ranges: Iterable[IssuedRange], source: str) -> Imported:
    """Issue the forms of these ranges to their owners; serials that are known stay as they are."""
    new = total = 0
    given = list(ranges)
    with context.database.write() as session:
        stocks = _locked_stocks(session, {(r.owner, r.form_type) for r in given})
        for issued in given:
            serials = serials_between(issued.first_serial, issued.last_serial, ISSUED_TOGETHER)
            stock_id = stocks[issued.owner, issued.form_type]
            missing = list(_unknown(session, issued.form_type, serials))
            for first, last in as_ranges(missing):
                run = serials_between(first, last, ISSUED_TOGETHER)
                _add_block(session, context, stock_id, issued, run, source)
            new += len(missing)
            total += len(serials)
    return Imported(new, total - new)


def _locked_stocks(session: Session, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The stocks' rows, made when they are new, and locked in id order as a reservation does."""
    rows = [{"owner": o, "form_type": kind, "low": False} for o, kind in sorted(wanted)]
    insert_new(session, Stock, rows)
    given = rows_table(session, {"owner": String(), "form_type": String()}, sorted(wanted))
    found = session.execute(
        select(Stock.id, Stock.owner, Stock.form_type)
        .join(given, and_(given.c.owner == Stock.owner, given.c.form_type == Stock.form_type))
        .order_by(Stock.id)
        .with_for_update(**NO_KEY_UPDATE, of=Stock)
    )
    return {(r.owner, r.form_type): r.id for r in found}


def _unknown(session: Session, form_type: str, serials: Sequence[str]) -> Iterator[str]:
    for chunk in chunks(serials, FORMS_TOGETHER):
        given = rows_table(session, {"serial": Serial}, [(s,) for s in chunk])
        known = set(
            session.scalars(
                select(Form.serial)
                .join(given, given.c.serial == Form.serial)
                .where(Form.form_type == form_type)
            )
        )
        yield from (s for s in chunk if s not in known)


def _add_block(
    session: Session,
    context: Context,
    stock_id: int,
    issued: IssuedRange,
    serials: Sequence[str],
    source: str,
) -> None:
    now = context.now()
    cause = Cause(f"issue:{source}").value
    block = Block(
        stock_id=stock_id,
        first_serial=serials[0],
        last_serial=serials[-1],
        form_count=len(serials),
        lowest_free=serials[0],
        issued_on=issued.issued_on,
        source=source,
        created_at=now,
    )
    session.add(block)
    session.flush()
    today, count = business_date(now), len(serials)
    received = day_key(stock_id, issued.issued_on or today, Movement.RECEIVED)
    entered = day_key(stock_id, today, Movement.ENTERED)
    on_hand = standing_key(stock_id, block.id, Standing.ON_HAND)
    note_changes(session, dict.fromkeys((received, entered, on_hand), count))
    for chunk in chunks(serials, FORMS_TOGETHER):
        insert_rows(
            session,
            Form,
            [
                {
                    "serial": serial,
                    "form_type": issued.form_type,
                    "stock_id": stock_id,
                    "block_id": block.id,
                    "state": FormState.ISSUED,
                    "event_count": 1,
                    "chain": event_hash(
                        GENESIS,
                        EventFacts(
                            issued.form_type, serial, 1, None, FormState.ISSUED.value, now, cause
                        ),
                    ),
                }
                for serial in chunk
            ],
        )
    session.execute(
        insert(FormEvent).from_select(
            ["form_id", "number", "to_state", "at", "cause", "hash"],
            select(
                Form.id,
                literal(1),
                literal(FormState.ISSUED.value),
                literal(now, UTCDateTime()),
                literal(cause),
                Form.chain,
            )
            .where(Form.block_id == block.id)
            .order_by(Form.id),
        )
    )
    count_soon(session, [stock_id])


def import_certificates(
    context: Context,
    content: bytes,
    file_name: str,
    answers: Answers = NO_ANSWERS,
    count: int | None = None,
) -> tuple[Imported, list[CertificateRecord]]:
    """Take the certificates of a file. Raises `FileError`."""
    limit = context.settings.upload_max_mb << 20
    records = read_certificates(content, file_name, limit, answers)
    _refuse_left_out(file_name, len(records), count)
    require(context.actor, Deed.CERTIFICATES_IMPORTED)
    if context.sight is not None:
        exporters = {r.exporter for r in records} | _known_exporters(context, records)
        _refuse_others(file_name, exporters - context.sight.principals)
    done = store_certificates(context, records)
    _record_import(context, Deed.CERTIFICATES_IMPORTED, file_name, done)
    return done, records


def _known_exporters(context: Context, records: Sequence[CertificateRecord]) -> set[str]:
    """Whose these certificates are already: another's is not made one's own by naming it."""
    exporters: set[str] = set()
    with context.database.read() as session:
        for chunk in chunks([r.number for r in records]):
            given = rows_table(session, {"number": String()}, [(n,) for n in chunk])
            theirs = select(Certificate.exporter).join(given, given.c.number == Certificate.number)
            exporters |= set(session.scalars(theirs.distinct()))
    return exporters


def store_certificates(context: Context, records: Sequence[CertificateRecord]) -> Imported:
    """Add certificates, or bring those that are known up to date; what is not said wipes nothing."""
    by_number = {r.number: r for r in records}
    ordered = [by_number[n] for n in sorted(by_number)]  # two imports at once: in no circle
    with context.database.write() as session:
        before = session.scalar(select(func.count()).select_from(Certificate)) or 0
        for chunk in chunks(ordered):
            known = _statuses(session, [r.number for r in chunk if r.status is None])
            statement = upserting(session, Certificate)
            new = statement.excluded
            pages = func.coalesce(new.pages, Certificate.pages)
            changed = func.coalesce(pages, 0) != func.coalesce(Certificate.pages, 0)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["number"],
                    set_={
                        **{
                            name: new[name]
                            for name in ("exporter", "agent", "status", "updated_at")
                        },
                        # what is not said wipes nothing
                        "approved_on": func.coalesce(new.approved_on, Certificate.approved_on),
                        "pages": pages,
                        "pages_at": case((changed, new.pages_at), else_=Certificate.pages_at),
                    },
                ),
                [
                    {
                        "number": r.number,
                        "type": r.type,
                        "exporter": r.exporter,
                        "agent": r.agent,
                        "approved_on": r.approved_on,
                        "pages": r.pages,
                        "pages_at": context.now() if r.pages is not None else None,
                        "status": r.status or known.get(r.number, CERTIFICATE_APPROVED),
                        "updated_at": context.now(),
                    }
                    for r in chunk
                ],
            )
        after = session.scalar(select(func.count()).select_from(Certificate)) or 0
    return Imported(after - before, len(ordered) - (after - before))


def _statuses(session: Session, numbers: Sequence[str]) -> dict[str, str]:
    given = rows_table(session, {"number": String()}, [(n,) for n in numbers])
    found = session.execute(
        select(Certificate.number, Certificate.status).join(
            given, given.c.number == Certificate.number
        )
    )
    return {number: status for number, status in found}  # noqa: C416 - rows are no pairs for the types


def known_owners(context: Context) -> list[str]:
    """The sender, and every enterprise that we hold stock or certificates of."""
    with context.database.read() as session:
        owners = set(session.scalars(select(Stock.owner).distinct()))
        owners |= set(session.scalars(select(Certificate.agent).distinct()))
        owners |= set(session.scalars(select(Certificate.exporter).distinct()))
    return sorted(owners | {context.settings.sender})


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync brought: certificates, forms, and of how many enterprises."""

    certificates: Imported
    forms: Imported
    enterprises: int


def sync(context: Context) -> Synced:
    """Certificates and stock of every enterprise that is known, in rounds until no new one appears.

    A certificate names its exporter and its agent, whose certificates name others: the first sync
    begins with the sender alone. Raises `GatewayUnreachable`; what was taken until then stays, and
    another sync goes on from there.
    """
    certificates = sync_known_certificates(context)
    owners = known_owners(context)
    return Synced(certificates, sync_stock(context, owners), len(owners))


def sync_known_certificates(context: Context) -> Imported:
    """Certificates of every enterprise that is known, in rounds until no new one appears."""
    done: set[str] = set()
    new = known = 0
    while enterprises := [e for e in known_owners(context) if e not in done]:
        taken = sync_certificates(context, enterprises)
        new, known = new + taken.new, known + taken.known
        done.update(enterprises)
    return Imported(new, known)


def sync_stock(context: Context, holders: Sequence[str]) -> Imported:
    """Take forms that customs lists as issued to these holders and we do not know.

    Raises `GatewayUnreachable`; what was taken until then stays. A list that customs does not give is
    raised for a person, and the other holders go on. States are not changed here: differences are the
    nightly reconciliation's.
    """
    new = known = 0
    for holder in holders:
        try:
            for page in form_pages(context, holder):
                issued = [f for f in page.forms if f.state is CustomsState.ISSUED]
                done = add_ranges(context, _ranges_of(holder, issued), "customs")
                new, known = new + done.new, known + done.known
        except ListRefused as error:
            raise_refused(context, holder, error)
    return Imported(new, known)


def _ranges_of(holder: str, forms: Sequence[CustomsForm]) -> Iterator[IssuedRange]:
    kinds: dict[tuple[str, date | None], list[str]] = {}
    for form in forms:
        kinds.setdefault((form.form_type, form.issued_on), []).append(form.serial)
    for (form_type, issued_on), serials in kinds.items():
        for first, last in as_ranges(serials):
            count = len(serials_between(first, last, ISSUED_TOGETHER))
            yield IssuedRange(holder, form_type, first, last, count, issued_on)


def sync_certificates(context: Context, enterprises: Sequence[str]) -> Imported:
    """Bring the certificates of these enterprises up to date; each counts once.

    Raises `GatewayUnreachable`; a list that customs does not give is raised for a person, and the others
    go on.
    """
    new = 0
    seen: set[str] = set()
    for enterprise in enterprises:
        try:
            for listed in certificate_pages(context, enterprise):
                records = [
                    CertificateRecord(
                        c.number, c.type, c.exporter, c.agent, c.approved_on, c.pages, c.status
                    )
                    for c in listed
                ]
                new += store_certificates(context, records).new
                seen |= {r.number for r in records}
        except ListRefused as error:
            raise_refused(context, enterprise, error)
    return Imported(new, len(seen) - new)
