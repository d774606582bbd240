"""空白证单查询: the list, 空白证单回执, the passport of a form; and the one search box."""

from __future__ import annotations

import json
from typing import Any, Final

from flask import Response, request, url_for

from console.pages.door import acting, moved, page, pages
from console.pages.lists import EXPORTED_MOST, as_xlsx, days_of, limit_of, number_of, word_of
from models.reads.batches import BatchFilter, list_batches
from models.reads.certificates import CertificateFilter, list_certificates
from models.reads.forms import FormFilter, list_forms
from models.reads.passport import form_passport, message_batch
from models.rules.causes import cause_text
from models.rules.errors import BadArgument, BlankformsError, Kind, NotFound
from models.rules.language import Text, t
from models.rules.numbers import clean
from models.rules.people import kept_reason
from models.rules.states import Action, FormState, SubmissionState, label
from tasks.context import Context
from tasks.stock import custody


@pages.get("/forms")
def forms() -> Response:
    """By the guide's five filters (S-61); none: forms of self-handled certificates, submitted or final."""
    context, args, error = acting(), request.args, None
    exporting = "xlsx" in args
    limit = EXPORTED_MOST if exporting else limit_of(args)
    try:
        wanted, after = _filter(), word_of(args, "after")
        with context.database.read() as session:
            found = list_forms(session, wanted, limit, after)
        shown, following = list(found.forms), found.next
    except BlankformsError as refused:
        error, shown, following = refused, [], ""
    if exporting and error is None:
        titles = (t("空白证单流水号", "serial"), t("空白证单类型", "type"), t("使用证书号", "certificate"),
                  t("状态", "state"), t("持有企业", "owner"), t("领用日期", "issued"), t("停用", "hold"))  # fmt: skip
        rows = [(f["serial"], f["type"], f["certificate"], label(FormState(f["state"])), f["owner"],
                 f["issued_on"], f["hold"]) for f in shown]  # fmt: skip
        return as_xlsx(t("空白证单.xlsx", "forms.xlsx"), titles, rows)
    return page("forms.html", 422 if error else 200, found=shown, more=following, error=error,
                states=list(FormState), state_of=FormState)  # fmt: skip


def _filter() -> FormFilter:
    args = request.args
    first, last = days_of(args)
    chosen = word_of(args, "state")
    view = word_of(args, "view")
    states: tuple[FormState, ...] = (FormState(chosen),) if chosen in set(FormState) else ()
    if view == "all" and not states:
        states = tuple(FormState)
    return FormFilter(
        serial=number_of(args, "serial"),
        form_type=number_of(args, "type"),
        certificate=number_of(args, "certificate"),
        states=states,
        issued_from=first,
        issued_to=last,
        owner=number_of(args, "owner"),
        handling="agent" if view == "agent" else None,
        sight=acting().sight,
    )


@pages.get("/forms/<kind>/<serial>")
def passport(kind: str, serial: str) -> Response:
    """Everything that happened to one form; its receipts, oldest first (S-63)."""
    return _passport(kind, serial)


def _passport(kind: str, serial: str, error: BlankformsError | None = None) -> Response:
    context = acting()
    with context.database.read() as session:
        found = form_passport(session, clean(serial).upper(), context.sight)
    these = [form for form in found if form["type"] == kind.upper()]
    if not these:
        raise NotFound(what=f"{kind} {serial}")
    if "json" in request.args:
        return _exported(context, these[0])
    return page("passport.html", 422 if error else 200, error=error, said=request.args.get("said"),
                issued=FormState.ISSUED.value, form=these[0], others=[f["type"] for f in found if f is not these[0]],
                cause_text=cause_text, state_of=FormState,
                message_state_of=SubmissionState, action_of=Action, source_words=_source_words())  # fmt: skip


CUSTODY: Final = {"hold": custody.hold, "lose": custody.lose, "release": custody.release}


@pages.post("/forms/<kind>/<serial>")
def keep(kind: str, serial: str) -> Response:
    """停用, 报失 or 解除, with a reason: of an unused form alone. Twice is once."""
    context, form = acting(), request.form
    number = clean(serial).upper()
    try:
        act = CUSTODY.get(form.get("do", ""))
        if act is None:
            raise BadArgument(detail=form.get("do", "")[:20])
        done = act(context, [number], kind.upper(), kept_reason(form.get("reason", "")))
        if done.refused:
            raise FormUnderWay(serial=number)
    except BlankformsError as error:
        return _passport(kind, serial, error)
    return moved(
        "pages.passport",
        kind=kind,
        serial=number,
        said="asked" if done.request else "done" if done.changed else "same",
    )


class FormUnderWay(BlankformsError):
    """Neither held nor lost."""

    code = "form_under_way"
    kind = Kind.CONFLICT
    text = Text(
        "{serial} 已预占、已提交或已用，不能停用或报失；可先撤回它的作业",
        "{serial} is reserved, submitted or used and can be neither held nor lost; take its job back first",
    )


def _source_words() -> dict[str, str]:
    """How a receipt came to us."""
    return {"poll": t("主动查询", "asked for"), "callback": t("海关通知", "told by customs")}


def _exported(context: Context, form: dict[str, Any]) -> Response:
    """All of it as a file, with the commands by which whoever has the system sees that it is as it was written."""
    document = {
        "exported_at": context.now().isoformat(),
        "exported_by": context.actor.name,
        "form": form,
        "verify_by": [f"blankforms form {form['serial']} --json", "blankforms audit verify"],
    }
    text = json.dumps(document, ensure_ascii=False, indent=1)
    answer = Response(text, content_type="application/json; charset=utf-8")
    name = f"{form['type']}-{form['serial']}.json"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@pages.get("/find")
def find() -> Response:
    """One box for a serial, a certificate, a batch, a client reference or a message number: straight to the one
    that is meant, or a list of those that may be.
    """
    context = acting()
    said = word_of(request.args, "q")
    word = clean(said).upper()
    targets: list[tuple[str, str]] = []
    with context.database.read() as session:
        if word:
            wanted = FormFilter(serial=word, sight=context.sight)
            for form in list_forms(session, wanted, 10).forms:
                where = url_for("pages.passport", kind=form["type"], serial=form["serial"])
                targets.append(
                    (f"{form['serial']} {form['type']} {label(FormState(form['state']))}", where)
                )
            certificate = CertificateFilter(word, sight=context.sight)
            targets.extend(
                (one["certificate"], url_for("pages.window", number=one["certificate"]))
                for one in list_certificates(session, certificate, 1)
            )
        by_reference = BatchFilter(client_reference=said[:100], sight=context.sight)
        jobs = list(list_batches(session, 10, by_reference)) if said else []
        number = message_batch(session, word, context.sight)
        if said.isdecimal() and said.isascii() and len(said) <= 9:  # noqa: PLR2004 - serials are longer than batches
            jobs += list_batches(session, 1, BatchFilter(number=int(said), sight=context.sight))
        if number is not None:
            jobs += list_batches(session, 1, BatchFilter(number=number, sight=context.sight))
    targets += [
        (
            t(f"作业 {j['id']} {j['file']}", f"job {j['id']} {j['file']}"),
            url_for("pages.job", id=j["id"]),
        )
        for j in jobs
    ]
    if len(targets) == 1:
        return Response(status=303, headers={"Location": targets[0][1]})
    return page("find.html", 200 if targets else 404, said=said, targets=targets)
