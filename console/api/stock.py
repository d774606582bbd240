"""Certificates, forms and stock: looked at, and brought in."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from console.api import shapes
from console.api.cursors import pack, unpack
from console.api.door import Answer, Call, Operation
from console.api.jobs import answers_of
from models.reads.certificates import CertificateFilter, list_certificates
from models.reads.forms import FormFilter, list_forms
from models.reads.passport import form_passport
from models.rules.errors import BadArgument, NotFound
from models.rules.language import Text, t
from models.rules.numbers import clean
from models.rules.people import Scope
from sheets.headers import CERTIFICATES, STOCK, SheetKind
from tasks.stock import imports
from tasks.stock.showing import period, show_stock
from workers.simulated import tell_certificates, tell_stock

RANGES_TOLD: Final = 1000
"""Ranges of one standing in an answer."""


def _code(text: str | None) -> str | None:
    return clean(text).upper() if text else None


def _in_order(first: date | None, last: date | None) -> None:
    if first and last and first > last:
        raise BadArgument(detail=t("起始日期晚于截止日期", "the first day is after the last"))


def certificates(call: Call) -> Answer:
    """Certificates by number."""
    asked: shapes.CertificateQuery = call.query
    _in_order(asked.approved_from, asked.approved_to)
    sight, kind = call.context.sight, _code(asked.type)
    wanted = CertificateFilter(None, kind, asked.approved_from, asked.approved_to, sight)
    with call.context.database.read() as session:
        found = list(list_certificates(session, wanted, asked.limit, unpack(asked.cursor)))
    following = found[-1]["certificate"] if len(found) == asked.limit else None
    return Answer({"certificates": found, "next": pack(following)})


def certificate(call: Call, number: str) -> Answer:
    """One certificate."""
    wanted = CertificateFilter(_code(number) or "", sight=call.context.sight)
    with call.context.database.read() as session:
        found = list(list_certificates(session, wanted, 1))
    if not found:
        raise NotFound(what=number)
    return Answer(found[0])


def forms(call: Call) -> Answer:
    """Forms by serial; without a filter those of the guide: submitted or final, on self-handled certificates."""
    asked: shapes.FormQuery = call.query
    _in_order(asked.issued_from, asked.issued_to)
    wanted = FormFilter(
        _code(asked.serial),
        _code(asked.type),
        _code(asked.certificate),
        tuple(asked.state),
        asked.issued_from,
        asked.issued_to,
        _code(asked.owner),
        asked.handling,
        call.context.sight,
    )
    with call.context.database.read() as session:
        page = list_forms(session, wanted, asked.limit, unpack(asked.cursor))
    return Answer({"forms": list(page.forms), "next": pack(page.next)})


def passport(call: Call, type: str, serial: str) -> Answer:  # noqa: A002 - names of the path
    """Everything that happened to one form."""
    with call.context.database.read() as session:
        found = form_passport(session, _code(serial) or "", call.context.sight)
    for form in found:
        if form["type"] == _code(type):
            return Answer(form)
    raise NotFound(what=f"{type} {serial}")


def stock(call: Call) -> Answer:
    """Each stock with the balance of this month and what is to be expected of it."""
    asked: shapes.StockQuery = call.query
    first, last = days = period(call.context, None, None)
    found = show_stock(call.context, _code(asked.owner), _code(asked.type), days, RANGES_TOLD)
    return Answer({"from": str(first), "to": str(last), "stocks": found})


def import_stock(call: Call) -> Answer:
    """Take issued ranges into stock; what is known already is left as it is."""
    name, content, count = _sheet(call, STOCK, "ranges")
    answers = answers_of(call.body.answers)
    done, ranges = imports.import_stock(call.context, content, name, answers, count)
    if call.context.settings.simulated:
        tell_stock(call.context.settings.simulator_folder, ranges)
    return Answer({"new": done.new, "known": done.known})


def import_certificates(call: Call) -> Answer:
    """Take certificates, or bring those that are known up to date."""
    name, content, count = _sheet(call, CERTIFICATES, "certificates")
    answers = answers_of(call.body.answers)
    done, records = imports.import_certificates(call.context, content, name, answers, count)
    if call.context.settings.simulated:
        tell_certificates(call.context.settings.simulator_folder, records)
    return Answer({"new": done.new, "known": done.known})


def _sheet(call: Call, kind: SheetKind, member: str) -> tuple[str, bytes, int | None]:
    """The file that was sent; or what was said by JSON, as a sheet, so that the same rules read it, and how many
    records it must have.
    """
    if call.upload is not None:
        return call.upload.name, call.upload.content, None
    rows: Sequence[Any] = getattr(call.body, member)
    written = io.StringIO()
    fields = [f for f in kind.words if f in type(rows[0]).model_fields]
    sheet = csv.writer(written)
    sheet.writerow([kind.words[field][0] for field in fields])
    for row in rows:
        values = (getattr(row, field) for field in fields)
        sheet.writerow(["" if value is None else str(value) for value in values])
    return "API.csv", written.getvalue().encode("utf-8-sig"), len(rows)


OPERATIONS: Final = (
    Operation("GET", "/certificates", Scope.READ, Text("证书列表", "list certificates"), certificates, shapes.Certificates, query=shapes.CertificateQuery),
    Operation("GET", "/certificates/{number}", Scope.READ, Text("一份证书", "one certificate"), certificate, shapes.Certificate),
    Operation("POST", "/certificates", Scope.CERTIFICATES, Text("导入证书", "import certificates"), import_certificates, shapes.Imported, body=shapes.NewCertificates, sheet=shapes.SheetAlone),
    Operation("GET", "/forms", Scope.READ, Text("空白证单列表", "list forms"), forms, shapes.Forms, query=shapes.FormQuery),
    Operation("GET", "/forms/{type}/{serial}", Scope.READ, Text("一张证单的经历", "the passport of a form"), passport, shapes.Passport),
    Operation("GET", "/stock", Scope.READ, Text("库存", "stock"), stock, shapes.Stocks, query=shapes.StockQuery),
    Operation("POST", "/stock", Scope.STOCK, Text("登记领用", "import issued ranges"), import_stock, shapes.Imported, body=shapes.NewRanges, sheet=shapes.SheetAlone),
)  # fmt: skip
