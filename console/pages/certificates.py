"""空白证单核销: the list of certificates, the window of one, the picker of unused forms, and the confirmation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, request

from console.pages.door import acting, moved, once_of, page, pages, part, polling
from console.pages.lists import EXPORTED_MOST, as_xlsx, days_of, limit_of, number_of, word_of
from models.reads.certificate_use import verified_counts
from models.reads.certificates import (
    CertificateFilter,
    count_approved,
    lacking_certificates,
    list_certificates,
)
from models.reads.deployment import known_grace
from models.reads.endorsements import awaiting_forms, would_ask
from models.reads.forms import FormFilter, free_serials, list_forms
from models.reads.plans import plan_rows, plan_view
from models.rules.errors import BadArgument, BlankformsError, Kind, NotFound
from models.rules.language import Text, t
from models.rules.people import Deed, kept_reason, require
from models.rules.plan import VOID_REASON_WORDS
from models.rules.problems import Problem
from models.rules.results import RowResult
from models.rules.states import (
    FINAL_FORM_STATES,
    Action,
    FormState,
    PagesMode,
    StockSource,
    text_of,
)
from models.writes.calls import MadeBefore
from tasks.context import Context
from tasks.orders import intake, planning, selecting
from tasks.receipts import refreshing

FORMS_OF_ONE: Final = 500
"""Forms of a certificate that its window lists; none has so many."""

AWAITING_SHOWN: Final = 20
"""Forms in plans that wait for a second person."""

DRAFTS_MOST: Final = 200
"""Rows that may be added in a window; more come by a sheet."""

PICKED_FROM: Final = 200
"""Unused forms that the picker shows; the exact filter finds every one."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A row that was added and not submitted: it is in the page alone and reserves nothing."""

    serial: str
    ticked: bool
    problem: str = ""


@pages.get("/certificates")
def certificates() -> Response:
    """All certificates of the enterprise, of every type (S-10), by the guide's three filters (S-11)."""
    return _certificates()


def _certificates(error: BlankformsError | None = None) -> Response:
    context, args = acting(), request.args
    exporting = "xlsx" in args
    limit = EXPORTED_MOST if exporting else limit_of(args)
    found: list[dict[str, Any]] = []
    all_of_them, more = 0, ""
    try:
        wanted = _wanted(context)
        with context.database.read() as session:
            after = word_of(args, "after")
            if "lacking" in args:
                listed = lacking_certificates(session, wanted, limit, after)
                found, more = listed.found, listed.next
                while exporting and more and len(found) < limit:
                    listed = lacking_certificates(session, wanted, limit - len(found), more)
                    found, more = found + listed.found, listed.next
            else:
                found = list(list_certificates(session, wanted, limit + 1, after))
                more = found[limit - 1]["certificate"] if len(found) > limit else ""
            if not exporting and (more or len(found) > 1):
                all_of_them = count_approved(session, wanted, selecting.SELECTED_MOST + 1)
    except BlankformsError as refused:
        error = refused
    if exporting and error is None:
        titles = (t("证书号", "certificate"), t("类型", "type"), t("出口商", "exporter"), t("录入企业", "agent"),
                  t("审核日期", "approved"), t("状态", "status"), t("页数", "pages"), t("已用页数", "used"),
                  t("证单", "forms"))  # fmt: skip
        names = (
            "certificate",
            "type",
            "exporter",
            "agent",
            "approved_on",
            "status",
            "pages",
            "used",
            "forms",
        )
        rows = [tuple(c[name] for name in names) for c in found[:limit]]
        return as_xlsx(t("证书.xlsx", "certificates.xlsx"), titles, rows)
    return page("certificates.html", 422 if error else 200, found=found[:limit], more=more, error=error,
                all_of_them=all_of_them, most=selecting.SELECTED_MOST, once=secrets.token_hex(16))  # fmt: skip


def _wanted(context: Context) -> CertificateFilter:
    """The filter that stands in the address. Raises `BadArgument`."""
    args = request.args
    number, kind = number_of(args, "certificate"), number_of(args, "type")
    return CertificateFilter(number, kind, *days_of(args), context.sight)


@pages.post("/certificates")
def select_certificates() -> Response:
    """Order what the chosen certificates still lack, 本页 those that are ticked or 全部 that the filter finds: from
    here on they are rows of a job, and the next page is its check. Sent twice, it is one job.
    """
    context, form = acting(), request.form
    numbers = None if form.get("scope") == "all" else form.getlist("chosen")
    said = (request.query_string.decode(), form.get("scope", ""), *(numbers or ()))
    once = once_of("\n".join(said).encode())
    try:
        batch_id = selecting.order_missing(context, _wanted(context), numbers, once)
    except MadeBefore as before:
        batch_id = before.made_id
    except BlankformsError as error:
        return _certificates(error)
    return moved("pages.check", id=batch_id)


@pages.route("/certificates/<number>", methods=["GET", "POST"])
def window(number: str) -> Response:
    """The window of one certificate. What is added lives in the form's fields until it is submitted."""
    context = acting()
    if polling():
        return part("window.html", "forms", drafts=(), **_window(context, number))
    drafts, error = _drafts(), None
    do, _, row = request.form.get("do", "").partition(":")
    try:
        if do in {"verify", "void"}:
            return _review(context, number, Action(do), drafts)
        if do == "picker":
            return _picker(context, number, drafts, _row_of(row))
        drafts = _edited(context, number, drafts, do, row)
        if do == "refresh":
            refreshing.refresh_soon(context, number.upper())
    except BlankformsError as refused:
        error = refused
    return page("window.html", 422 if error else 200, drafts=drafts, error=error, said=request.args.get("said"),
                job=request.args.get("job", type=int), **_window(context, number))  # fmt: skip


def _window(context: Context, number: str) -> dict[str, Any]:
    certificate = _certificate(context, number)
    with context.database.read() as session:
        wanted = FormFilter(certificate=certificate["certificate"], sight=context.sight)
        forms = list_forms(session, wanted, FORMS_OF_ONE).forms
        used = verified_counts(session, [certificate["certificate"]]).get(
            certificate["certificate"], 0
        )
        grace = known_grace(session)
        awaiting = (
            [] if polling() else awaiting_forms(session, certificate["certificate"], AWAITING_SHOWN)
        )
    final = {s.value for s in FINAL_FORM_STATES}
    return {
        "certificate": certificate,
        "forms": forms,
        "used": used,
        "under_way": sum(f["state"] not in final for f in forms),
        "grace": grace,
        "awaiting": awaiting,
        "action_of": Action,
        "reasons": VOID_REASON_WORDS,
        "asked": request.form,
    }


def _certificate(context: Context, number: str) -> dict[str, Any]:
    with context.database.read() as session:
        wanted = CertificateFilter(number.upper(), sight=context.sight)
        found = list(list_certificates(session, wanted, 1))
    if not found:
        raise NotFound(what=number)
    return found[0]


def _drafts() -> list[Draft]:
    ticks = set(request.form.getlist("tick"))
    serials = request.form.getlist("serial")[:DRAFTS_MOST]
    return [Draft(serial.strip(), str(i) in ticks) for i, serial in enumerate(serials)]


def _edited(context: Context, number: str, drafts: list[Draft], do: str, row: str) -> list[Draft]:
    """The drafts after 新增, 删除, 返填 or a pick."""
    if do == "add":
        return [*drafts, Draft("", ticked=True)][:DRAFTS_MOST]
    if do == "remove":
        return [d for d in drafts if not d.ticked]
    if do == "fill":
        return [
            *(d for d in drafts if d.serial),
            *_filled(context, number, drafts, row),
        ]
    if do == "pick":
        picked, at = request.form.get("picked", ""), _row_of(row)
        return [
            Draft(picked, ticked=True) if i == at and picked else d for i, d in enumerate(drafts)
        ]
    return drafts


def _row_of(said: str) -> int:
    """The row that a button is about. Raises `BadArgument` for one that no page of ours has."""
    if not (said.isascii() and said.isdecimal() and len(said) < 4):  # noqa: PLR2004 - there are 200 at most
        raise BadArgument(detail=said[:20])
    return int(said)


def _filled(context: Context, number: str, drafts: list[Draft], source: str) -> list[Draft]:
    """返填: the lowest unused serials (S-40, S-41, S-43); all of them or none (S-47)."""
    certificate = _certificate(context, number)
    if source not in set(StockSource):
        raise BadArgument(detail=source[:20])
    try:
        wanted = int(request.form.get("pages", ""))
    except ValueError:
        wanted = 0
    if not 0 < wanted <= DRAFTS_MOST:
        raise WindowRefused(
            message=t(f"核销页数须为 1-{DRAFTS_MOST}", f"a page count of 1-{DRAFTS_MOST}")
        )
    owner = certificate["exporter"] if source == StockSource.EXPORTER else certificate["agent"]
    named = {d.serial for d in drafts}
    with context.database.read() as session:
        free = free_serials(session, owner, certificate["type"], wanted + len(named), context.sight)
    free = [serial for serial in free if serial not in named]
    if len(free) < wanted:
        short = Problem("stock_short", values={"wanted": wanted, "available": len(free)})
        raise WindowRefused(message=short.message)
    return [Draft(serial, ticked=True) for serial in free[:wanted]]


class WindowRefused(BlankformsError):
    """Said in the window, beside what was typed."""

    code = "window_refused"
    kind = Kind.WRONG_INPUT
    text = Text("{message}", "{message}")


def _picker(context: Context, number: str, drafts: list[Draft], row: int) -> Response:
    """未使用的空白证单: all 已领用 (S-33), or exactly one (S-34)."""
    certificate = _certificate(context, number)
    wanted = request.form.get("find", "").strip()
    owners = {certificate["agent"], certificate["exporter"]}
    found: list[dict[str, Any]] = []
    with context.database.read() as session:
        for owner in sorted(owners):
            asked = FormFilter(serial=wanted or None, form_type=certificate["type"], owner=owner,
                               states=(FormState.ISSUED,), sight=context.sight)  # fmt: skip
            found += list_forms(session, asked, PICKED_FROM + 1).forms
    found = sorted((f for f in found if f["hold"] is None), key=lambda f: str(f["serial"]))
    more, found = len(found) > PICKED_FROM, found[:PICKED_FROM]
    values: dict[str, Any] = {"certificate": certificate, "drafts": drafts, "row": row, "found": found, "more": more,
              "find": wanted, "owner_words": _owner_words, "asked": request.form}  # fmt: skip
    if request.headers.get("HX-Request") == "true":
        return part("picker.html", "picker", inside=True, **values)
    return page("picker.html", inside=False, **values)


def _owner_words(owner: str, certificate: dict[str, Any]) -> str:
    """Whose stock it is, for somebody who does not know the codes by heart."""
    if owner != certificate["exporter"]:
        return t(f"代录入企业 {owner}", f"agent {owner}")
    return t(f"出口商 {owner}", f"exporter {owner}")


def _review(context: Context, number: str, action: Action, drafts: list[Draft]) -> Response:
    """The plan of what is ticked, to be said yes to; or the window again, with what is wrong beside its row."""
    require(context.actor, Deed.ORDER_CONFIRMED)
    serials = [d.serial for d in drafts if d.ticked and d.serial]
    if not serials:
        raise WindowRefused(message=t("请先勾选未使用的空白证单", "tick the forms first"))
    reason = request.form.get("reason", "")
    cells = {
        "certificate": number.upper(),
        "action": text_of(action).zh,
        "serial": ",".join(serials),
        "reason": f"{reason} {request.form.get('reason_text', '')}".strip()
        if action is Action.VOID
        else "",
    }
    said = request.form.get("beyond", "").strip()
    beyond = kept_reason(said) if said else None
    name = " ".join((cells["certificate"], cells["action"], cells["serial"]))
    batch_id = intake.receive_orders(context, name, [cells], PagesMode.ADDITIONAL)
    planning.check(context, batch_id, planning.Lift(beyond_pages=beyond))
    with context.database.read() as session:
        view = plan_view(session, batch_id)
        (row,) = (r.row for r in plan_rows(session, view.batch))
    if row.problems:
        marked = [Draft(d.serial, d.ticked, _about(row, d)) for d in drafts]
        return page("window.html", 422, drafts=marked, error=WindowRefused(message=_said(row)), said=None, job=None,
                    over=any(p.code == "pages_exceeded" for p in row.problems), **_window(context, number))  # fmt: skip
    with context.database.read() as session:
        grace = known_grace(session)
        asks = would_ask(session, view.batch, context.actor, context.now())
        waits = awaiting_forms(session, cells["certificate"], FORMS_OF_ONE)
    return page(
        "review.html",
        drafts=drafts,
        asked=request.form,
        asks=asks,
        awaiting=[w for w in waits if w.serial in row.serial_list],
        view=view,
        row=row,
        action=action,
        number=number,
        grace=grace,
        reason=cells["reason"],
    )


def _said(row: RowResult) -> str:
    return "；".join(p.message for p in row.problems)


def _about(row: RowResult, draft: Draft) -> str:
    """What is wrong with this very serial."""
    mine = (
        p.message
        for p in row.problems
        if draft.serial and draft.serial in str(p.values.get("serials", ""))
    )
    return "；".join(mine) if draft.ticked else ""
