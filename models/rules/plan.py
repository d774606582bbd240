"""The rules of the check: what is wrong with a row, and which serials a page count would take.

Pure: functions over values, standard library alone. Guide S-40..S-48, rule 5 of how-it-works.md.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from models.rules.language import Text
from models.rules.problems import Problem
from models.rules.serials import show_serials
from models.rules.states import Action, FormState, PagesMode, StockSource

CERTIFICATE_APPROVED: Final = "approved"

VOID_REASON_WORDS: Final[Mapping[str, Text]] = {
    "01": Text("打印错误", "misprint"),
    "02": Text("污损", "soiled"),
    "03": Text("证书更改或重发", "certificate changed or issued anew"),
    "04": Text("遗失", "lost"),
    "09": Text("其他", "other"),
}
"""Reasons of a void, as customs numbers them (bcm1.md)."""

VOID_REASON_LOST: Final = "04"
"""遗失 (contract section 1): the only thing that may be done with a form that we hold as lost."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What the check needs to know of a certificate of origin."""

    number: str
    type: str
    exporter: str
    agent: str
    status: str

    @property
    def self_handled(self) -> bool:
        """企业自理: the exporter entered the certificate itself."""
        return self.exporter == self.agent

    def stock_owner(self, source: StockSource | None) -> str:
        """Whose stock a page count draws from: the agent's by default, the exporter's when asked."""
        return self.exporter if source is StockSource.EXPORTER else self.agent


@dataclass(frozen=True, slots=True)
class NamedForm:
    """A serial that a row names, and the forms of that serial (one for each form type)."""

    serial: str
    candidates: Sequence[FormFacts]
    action: Action = Action.VERIFY


@dataclass(frozen=True, slots=True)
class FormFacts:
    """What the check needs to know of a form."""

    form_type: str
    owner: str
    state: FormState
    hold: str | None
    lost: bool = False
    certificate: str | None = None
    since: str = ""
    """The day since which it is as it is."""


@dataclass(frozen=True, slots=True)
class OtherMention:
    """Another place of the same file that names the same serial."""

    serial: str
    row_number: int
    same_order: bool
    """For the same certificate and the same action: a repeat. Otherwise a contradiction."""


@dataclass(frozen=True, slots=True)
class RowFacts:
    """One row as it was read, ready to be checked."""

    number: int
    certificate: str
    source: StockSource | None
    page_count: int | None
    reason_code: str | None = None


def certificate_problems(row: RowFacts, certificate: CertificateFacts | None) -> list[Problem]:
    """Whether the certificate may use forms at all, and from the stock that the row asks for."""
    if not row.certificate:
        return []
    values = {"certificate": row.certificate}
    if certificate is None:
        return [Problem("certificate_unknown", "certificate", values=values)]
    problems = []
    if certificate.status != CERTIFICATE_APPROVED:
        problems.append(Problem("certificate_not_approved", "certificate", values=values))
    if row.source is StockSource.AGENT and certificate.self_handled:
        values = {**values, "source": StockSource.AGENT.value}
        problems.append(Problem("stock_source_not_allowed", "stock_source", values=values))
    return problems


def serial_problems(
    row: RowFacts, certificate: CertificateFacts | None, forms: Iterable[NamedForm]
) -> list[Problem]:
    """What is wrong with the serials that a row names; serials with the same trouble share one.

    A serial may exist once for each form type: the certificate's type decides.
    """
    troubles: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for named in forms:
        trouble = _form_trouble(row, certificate, named)
        if trouble is not None:
            troubles.setdefault(trouble, []).append(named.serial)
    return [
        Problem(key, "serial", values={"serials": show_serials(serials), **dict(values)})
        for (key, values), serials in troubles.items()
    ]


def _form_trouble(
    row: RowFacts, certificate: CertificateFacts | None, named: NamedForm
) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    if not named.candidates:
        return "serial_unknown", ()
    if certificate is None:
        return None
    form = next((f for f in named.candidates if f.form_type == certificate.type), None)
    if form is None:
        other = named.candidates[0].form_type
        return "type_mismatch", (("form_type", other), ("certificate_type", certificate.type))
    owners = {certificate.exporter, certificate.agent}
    if row.source is not None:
        owners = {certificate.stock_owner(row.source)}
    if form.owner not in owners:
        return "stock_of_another", (("owner", form.owner),)
    if form.state is not FormState.ISSUED:
        if form.certificate:
            of = (("certificate", form.certificate), ("since", form.since))
            return "serial_not_available_of", (("state", form.state.value), *of)
        return "serial_not_available", (("state", form.state.value),)
    voided_as_lost = named.action is Action.VOID and row.reason_code == VOID_REASON_LOST
    if form.hold and not (form.lost and voided_as_lost):
        return "serial_not_available", (("state", f"⏸ {form.hold}"),)
    return None


def duplicate_problems(row: RowFacts, mentions: Iterable[OtherMention]) -> list[Problem]:
    """A repeat is a problem of the later row; a contradiction is one of both (no answer guessed)."""
    first: dict[int, list[str]] = {}
    for mention in mentions:
        if not mention.same_order or mention.row_number <= row.number:
            first.setdefault(mention.row_number, []).append(mention.serial)
    return [
        Problem("duplicate_in_file", "serial", values={"serials": show_serials(s), "row": other})
        for other, s in sorted(first.items())
    ]


@dataclass(frozen=True, slots=True)
class VerifyDemand:
    """Forms that one row wants verified for its certificate, named or counted."""

    row_number: int
    named: int
    counted: int | None
    mode: PagesMode
    owner: str
    """Whose stock a count draws from."""
    reference: str


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """Forms reserved, under way or at customs for the certificate by another batch."""

    batch: int
    row_number: int
    counted: bool
    owner: str
    reference: str


@dataclass(frozen=True, slots=True)
class Lifted:
    """What a person lifted for the batch, with a reason: `--again`, `--beyond-pages`."""

    again: bool = False
    beyond: bool = False


def page_problems(
    certificate: str,
    pages: int | None,
    had: int,
    demands: Iterable[VerifyDemand],
    live: Sequence[LiveOrder],
    lifted: Lifted,
) -> tuple[dict[int, list[Problem]], dict[int, int]]:
    """What is wrong with the counts of one certificate, and how many forms each counted row gets.

    `had`: forms verified for it before. Rows come in the order of the sheet, all of them right so far.
    A row that would take the certificate past its pages (when known), and the same order by count
    twice, here or in another batch, are problems (rule 4 of how-it-works.md; invariant 13). With pages
    unknown, serials and a count for the same certificate may be the same forms: then too.
    """
    problems: dict[int, list[Problem]] = {}
    wanted: dict[int, int] = {}
    total = had
    before: list[LiveOrder] = [*live]
    for row in demands:
        forms = row.named if row.counted is None else row.counted
        if row.counted is not None and row.mode is PagesMode.TOP_UP:
            forms = max(0, row.counted - total)
            past = pages is not None and row.counted > pages
        else:
            past = pages is not None and total + forms > pages
        found: list[Problem] = []
        twin = _twin(row, before, pages)
        if twin is not None and not lifted.again:
            key = "duplicate_order_elsewhere" if twin.batch else "duplicate_order"
            place = {"certificate": certificate, "batch": twin.batch, "row": twin.row_number}
            found.append(Problem(key, _where(row), values=place))
        if past and not lifted.beyond:
            values = {"certificate": certificate, "pages": pages, "had": total, "wanted": forms}
            found.append(Problem("pages_exceeded", _where(row), values=values))
        if found:
            problems[row.row_number] = found
            continue
        total += forms
        wanted[row.row_number] = forms
        before.append(
            LiveOrder(0, row.row_number, row.counted is not None, row.owner, row.reference)
        )
    return problems, wanted


def _where(row: VerifyDemand) -> str:
    return "serial" if row.counted is None else "page_count"


def _twin(row: VerifyDemand, before: Sequence[LiveOrder], pages: int | None) -> LiveOrder | None:
    """An order that this one may only repeat; never for a top-up, which counts what is there."""
    if row.mode is PagesMode.TOP_UP:
        return None
    counted = row.counted is not None
    for other in before:
        if other.reference != row.reference:
            continue
        if counted and other.counted and other.owner == row.owner:
            return other
        if counted != other.counted and pages is None:
            return other
    return None


@dataclass(frozen=True, slots=True)
class PageDemand:
    """Forms wanted by count, for one row."""

    row_number: int
    certificate: str
    wanted: int


@dataclass(frozen=True, slots=True)
class AvailableForm:
    """A form that a page count may take."""

    form_id: int
    serial: str


@dataclass(frozen=True, slots=True)
class Taking:
    """What a page demand gets: its forms, or none and how many there were."""

    demand: PageDemand
    forms: Sequence[AvailableForm]
    certificate_wants: int
    available: int


def take_pages(
    demands: Iterable[PageDemand],
    totals: Mapping[str, int],
    available: Iterator[AvailableForm],
) -> Iterator[Taking]:
    """Give each demand the lowest available forms of one stock, in the order of the rows.

    `available` comes ascending; numbers that are missing in it are simply skipped (S-43). All
    demands of one certificate are met, or none of them: `totals` says how many forms a certificate
    with several demands wants in all. A certificate that comes short does not stop those after it.
    Memory: only forms looked at and not yet given.
    """
    waiting: deque[AvailableForm] = deque()
    promised = 0
    met: dict[str | int, bool] = {}
    for demand in demands:
        together = demand.certificate in totals
        key = demand.certificate if together else demand.row_number
        total = totals[demand.certificate] if together else demand.wanted
        if key not in met:
            while len(waiting) < promised + total and (form := next(available, None)):
                waiting.append(form)
            met[key] = len(waiting) >= promised + total
            promised += total if met[key] else 0
        if met[key]:
            promised -= demand.wanted
            forms = [waiting.popleft() for _ in range(demand.wanted)]
            yield Taking(demand, forms, total, total)
        else:
            yield Taking(demand, (), total, len(waiting) - promised)


def plan_hash(lines: Iterable[str]) -> str:
    """SHA-256 (first 16 hex digits) over what would be done: one line for each serial, in order.

    A line says row, certificate, action, serial, stock owner and reason, so two plans have the same
    hash exactly when they would ask the same of customs for the same rows.
    """
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:16]
