"""forms, form SERIAL, refresh."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

import typer

from cli.imports import DATE_FORMATS, Output, day
from cli.options import Json, code
from cli.runtime import (
    opened,
    out,
    print_json,
    print_table,
    shown_time,
    tell,
    writable_sheet,
    write_table,
)
from models.reads.forms import FormFilter, list_forms
from models.reads.passport import form_passport
from models.rules.causes import cause_text
from models.rules.errors import BadArgument, NotFound
from models.rules.language import t
from models.rules.numbers import NotACertificateNumber, clean, parse_certificate_number
from models.rules.problems import Problem
from models.rules.states import FormState, SubmissionState, label, text_of
from tasks.receipts import refreshing


class Handling(StrEnum):
    """企业自理 / 企业代理."""

    SELF = "self"
    AGENT = "agent"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("forms")(forms)
    app.command("form")(form)
    app.command("refresh")(refresh)


def forms(
    serial: Annotated[str | None, typer.Option(help=t("流水号", "serial"))] = None,
    kind: Annotated[str | None, typer.Option("--type", help=t("证单类型", "form type"))] = None,
    certificate: Annotated[
        str | None, typer.Option(help=t("使用证书号", "certificate used for"))
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(help=t("状态，如 已核销，可多次", "state, may be repeated")),
    ] = None,
    issued_from: Annotated[
        datetime | None, typer.Option(formats=DATE_FORMATS, help=t("领用起始日期", "first day"))
    ] = None,
    issued_to: Annotated[
        datetime | None, typer.Option(formats=DATE_FORMATS, help=t("领用截止日期", "last day"))
    ] = None,
    owner: Annotated[str | None, typer.Option(help=t("持有企业", "owner"))] = None,
    handling: Annotated[
        Handling | None, typer.Option(help=t("自理或代理证书", "self- or agent-handled"))
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = 200,
    after: Annotated[str, typer.Option(help=t("从上次停下的地方接着列", "go on from there"))] = "",
    output: Output = None,
    json: Json = False,
) -> None:
    """Without filters: forms verified or voided on self-handled certificates (guide)."""
    if output is not None:
        writable_sheet(output)
    first, last = day(issued_from), day(issued_to)
    if first and last and first > last:
        raise BadArgument(detail=t("领用起始日期晚于截止日期", "issued-from is after issued-to"))
    wanted = FormFilter(
        serial=code(serial),
        form_type=code(kind),
        certificate=code(certificate),
        states=tuple(_state(word) for word in state or ()),
        issued_from=first,
        issued_to=last,
        owner=code(owner),
        handling=handling.value if handling else None,
    )
    found: list[dict[str, Any]] = []
    with opened() as context, context.database.read() as session:
        for _ in range(_PAGES):
            page = list_forms(session, wanted, limit - len(found), after)
            found += page.forms
            after = page.next
            if not after or len(found) == limit:
                break
    if json:
        print_json({"forms": found, "next": after or None})
        return
    titles = (
        t("流水号", "serial"),
        t("类型", "type"),
        t("状态", "state"),
        t("证书号", "certificate"),
    )
    if wanted == FormFilter():
        tell(
            t(
                "未加条件: 只列自理证书的 核销提交、已核销、作废提交、已作废；其他请用 --state、--certificate 等",
                "no filter: self-handled certificates, submitted or final; see --state, --certificate …",
            )
        )
    show = print_table if output is None else partial(write_table, output)
    show(
        (*titles, t("持有企业", "owner"), t("领用日期", "issued"), t("停用", "hold")),
        (
            (f["serial"], f["type"], label(FormState(f["state"])), f["certificate"], f["owner"],
             f["issued_on"], f["hold"])
            for f in found
        ),
    )  # fmt: skip
    if after:
        tell(t(f"还有，接着列: --after {after}", f"there are more: --after {after}"))


_PAGES: Final = 50
"""Short pages that one command puts together: half a second, however rare what is asked for."""


def form(
    serial: Annotated[str, typer.Argument(help=t("流水号", "serial"))], json: Json = False
) -> None:
    """空白证单回执: everything that happened to one serial."""
    with opened() as context, context.database.read() as session:
        found = form_passport(session, clean(serial).upper())
    if not found:
        raise NotFound(what=serial)
    if json:
        print_json({"serial": found[0]["serial"], "forms": found})
        return
    for passport in found:
        state = label(FormState(passport["state"]))
        hold = f"  {passport['hold']}" if passport["hold"] else ""
        out().print(
            f"{passport['serial']}  {passport['type']}  {state}{hold}  "
            f"{passport['certificate'] or '-'}  {passport['owner']}",
            markup=False,
        )
        zone = context.settings.zone
        print_table(
            (t("时间", "time"), t("变动", "move"), t("原因", "cause"), t("批次", "batch"), ""),
            (
                (
                    shown_time(e["at"], zone),
                    f"{_word(e['from'])} → {_word(e['to'])}",
                    cause_text(e["cause"]),
                    e["batch"],
                    e["reason"],
                )
                for e in passport["history"]
            ),
        )
        for m in passport["messages"]:  # a line each: a table would break the number
            state = label(SubmissionState(m["state"]))
            told = " ".join(filter(None, (m["customs_number"], m["answer"])))
            out().print(
                t(
                    f"报文 {m['number']}  {state}  发送 {m['sent']} 次  海关: {told or '-'}",
                    f"message {m['number']}  {state}  sent {m['sent']} times  customs: {told or '-'}",
                ),
                markup=False,
                soft_wrap=True,
            )
        if passport["receipts"]:
            print_table(
                (
                    t("回执", "receipt"),
                    t("来源", "by"),
                    t("海关时间", "decided"),
                    t("代码", "code"),
                    "",
                ),
                (
                    (r["receipt"], r["source"], shown_time(r["at"], zone), r["code"], r["text"])
                    for r in passport["receipts"]
                ),
            )


def _state(word: str) -> FormState:
    """A state by its code or by the portal's word. Raises `BadArgument`."""
    for state in FormState:
        if clean(word).lower() in {state.value, text_of(state).zh, text_of(state).en}:
            return state
    known = " ".join(label(state) for state in FormState)
    raise BadArgument(detail=t(f"--state 可填: {known}", f"--state is one of: {known}"))


def _word(state: str | None) -> str:
    return label(FormState(state)) if state else "-"


def refresh(
    certificate: Annotated[
        str | None, typer.Argument(help=t("证书号；不给则全部", "certificate; all when left out"))
    ] = None,
    json: Json = False,
) -> None:
    """Fetch receipts, ask about what is in doubt, apply; then show the certificate's forms."""
    if certificate is not None:
        try:
            certificate = str(parse_certificate_number(certificate))
        except NotACertificateNumber as error:
            problem = Problem(error.code, values={"value": certificate})
            raise BadArgument(detail=problem.message) from None
    with opened() as context:
        done = refreshing.refresh(context, certificate)
        with context.database.read() as session:
            found = list(list_forms(session, FormFilter(certificate=certificate), 500).forms) \
                if certificate else []  # fmt: skip
    if json:
        print_json({**asdict(done), "forms": found})
        return
    tell(
        t(
            f"新回执 {done.new}，已处理 {done.applied}，查询存疑 {done.asked}",
            f"{done.new} new receipts, {done.applied} applied, {done.asked} asked about",
        )
    )
    if found:
        print_table(
            (t("流水号", "serial"), t("状态", "state")),
            ((f["serial"], label(FormState(f["state"]))) for f in found),
        )
