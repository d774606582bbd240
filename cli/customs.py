"""customs show, moved, confirm; adopt-customs; line show, open, pause, resume: whose database this is, and whether
messages leave.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import LARGEST_NUMBER, Json
from cli.persons import By
from cli.runtime import YES, agreed, opened, print_json, shown_time, tell
from config.settings import origin_of
from models.reads.deployment import known_identity, named
from models.reads.line import line_of
from models.rules.errors import BadArgument, NotFound
from models.rules.language import t
from models.rules.numbers import clean, is_enterprise_code
from models.rules.people import kept_name, kept_reason
from models.rules.states import PauseScope
from tasks import deployment as acts
from tasks.line import open_again, pause, paused, resume


def register(app: typer.Typer) -> None:
    """Add the groups `customs` and `line`, and the command `adopt-customs`."""
    customs = typer.Typer(no_args_is_help=True)
    customs.command("show", help=t("本数据库的企业和海关", "sender and customs of the database"))(
        show
    )
    customs.command("moved", help=t("同一海关换了地址", "the same customs at a new address"))(moved)
    customs.command("confirm", help=t("确认升级前的数据库", "confirm a database from before"))(
        confirm
    )
    app.add_typer(customs, name="customs")
    app.command("adopt-customs")(adopt)
    line = typer.Typer(no_args_is_help=True)
    line.command("show", help=t("是否畅通", "whether messages leave"))(line_show)
    line.command("open", help=t("原因已排除，恢复发送", "the cause is mended: send again"))(
        line_open
    )
    line.command("pause", help=t("暂停：未发出的不再发", "stop what has not left"))(line_pause)
    line.command("resume", help=t("恢复", "let it go on"))(line_resume)
    app.add_typer(line, name="line")


def show(json: Json = False) -> None:
    """What the database remembers, and what the settings say."""
    with opened(identified=False) as context, context.database.read() as session:
        known, given = known_identity(session), context.identity
    if json:
        document = {"settings": {"sender": given.sender, "customs": given.customs}}
        remembered = {"sender": known.sender, "customs": known.customs} if known else None
        print_json(document | {"database": remembered})
        return
    if known:
        tell(t(f"数据库: 企业 {known.sender}，海关 {named(known.customs)}",
               f"database: sender {known.sender}, customs {named(known.customs)}"))  # fmt: skip
    else:
        tell(t("数据库: 尚未记录", "database: not known yet"))
    tell(t(f"设置: 企业 {given.sender}，海关 {named(given.customs)}",
           f"settings: sender {given.sender}, customs {named(given.customs)}"))  # fmt: skip


def moved(url: Annotated[str, typer.Argument(help="URL")], yes: YES = False) -> None:
    """The address that CUSTOMS_URL has from now on; receipts are read on from where they were."""
    origin = origin_of(url)
    question = t(
        f"{origin} 是同一海关的新地址？报文和回执将从原处继续",
        f"is {origin} the same customs at a new address? Messages and receipts go on from where they are",
    )
    if not agreed(question, yes=yes):
        return
    with opened(identified=False) as context:
        acts.moved(context, origin)
        given = context.identity.customs
    tell(t(f"已记录新地址: {origin}", f"recorded: {origin}"))
    if given != origin:
        tell(
            t(
                "请在各处把 CUSTOMS_URL 改为新地址后重新启动",
                "now set CUSTOMS_URL everywhere, and restart",
            )
        )


def confirm(yes: YES = False) -> None:
    """That a database from before belongs to the sender and the customs of the settings."""
    with opened(identified=False) as context:
        given = context.identity
        question = t(
            f"这个数据库属于企业 {given.sender}，对接海关 {named(given.customs)}？",
            f"does this database belong to the sender {given.sender}, and speak to the customs {named(given.customs)}?",
        )
        if not agreed(question, yes=yes):
            return
        acts.confirm(context)
    tell(t("已记录", "recorded"))


def adopt(yes: YES = False) -> None:
    """The sender and the customs of the settings, in the place of those before."""
    with opened(identified=False) as context:
        given = context.identity
        question = t(
            f"从现在起改用企业 {given.sender}、海关 {named(given.customs)}？已登记的库存和证书会保留，请随后同步并对账",
            f"use the sender {given.sender} and the customs {named(given.customs)} from now on? "
            "Stock and certificates stay; sync and reconcile afterwards",
        )
        if not agreed(question, yes=yes):
            return
        acts.adopt(context)
    tell(t("已改用", "adopted"))


def line_show(json: Json = False) -> None:
    """Open, closed until when and why, or one message at a time."""
    with opened() as context:
        with context.database.read() as session:
            line = line_of(session, context.now())
        zone = context.settings.zone
        stopped = paused(context)
    if json:
        print_json(line.shown() | {"paused": stopped})
        return
    tell(t("线路: ", "line: ") + line.said(zone))
    for one in stopped:
        what = _scope_text(PauseScope(one["scope"]), one["value"])
        when = shown_time(one["at"], zone)
        tell(t(f"已暂停: {what}  {when} {one['by']} {one['reason']}",
               f"paused: {what}  {when} {one['by']} {one['reason']}"))  # fmt: skip


Principal = Annotated[
    str | None, typer.Option("--principal", help=t("只停某出口商(USCC)", "of one exporter (USCC)"))
]
OfBatch = Annotated[
    int | None,
    typer.Option("--batch", min=1, max=LARGEST_NUMBER, help=t("只停某批次", "of one batch")),
]


def line_pause(
    reason: Annotated[str, typer.Option("--reason", help=t("原因", "why"))],
    principal: Principal = None,
    batch: OfBatch = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Everything, or what is of one exporter or one batch; what is on its way goes on to its end."""
    scope, value = _scope(principal, batch)
    with opened() as context:
        new = pause(context, scope, value, kept_name(by, context.actor), kept_reason(reason))
        stopped = paused(context)
    if json:
        print_json({"paused": stopped})
        return
    what = _scope_text(scope, value)
    tell(
        t(f"已暂停: {what}", f"paused: {what}")
        if new
        else t(f"此前已暂停: {what}", f"paused already: {what}")
    )


def line_resume(
    principal: Principal = None, batch: OfBatch = None, by: By = None, json: Json = False
) -> None:
    """What was paused goes on; other pauses stay."""
    scope, value = _scope(principal, batch)
    with opened() as context:
        was_paused = resume(context, scope, value, kept_name(by, context.actor))
        stopped = paused(context)
    what = _scope_text(scope, value)
    if not was_paused:
        raise NotFound(what=what)
    if json:
        print_json({"paused": stopped})
        return
    tell(t(f"已恢复: {what}", f"resumed: {what}"))


def _scope(principal: str | None, batch: int | None) -> tuple[PauseScope, str]:
    if principal is not None and batch is not None:
        raise BadArgument(
            detail=t("--principal 与 --batch 只能给一个", "give one of --principal, --batch")
        )
    if batch is not None:
        return PauseScope.BATCH, str(batch)
    if principal is None:
        return PauseScope.ALL, ""
    code = clean(principal).upper()
    if not is_enterprise_code(code):
        raise BadArgument(detail=t(f"不是统一社会信用代码: {principal}", f"no USCC: {principal}"))
    return PauseScope.PRINCIPAL, code


def _scope_text(scope: PauseScope, value: str) -> str:
    texts = {
        PauseScope.ALL: t("全部", "everything"),
        PauseScope.PRINCIPAL: t(f"出口商 {value}", f"exporter {value}"),
        PauseScope.BATCH: t(f"批次 {value}", f"batch {value}"),
    }
    return texts[scope]


def line_open(json: Json = False) -> None:
    """After refusals for the card one message leaves first, and the others when it was taken."""
    with opened() as context:
        line = open_again(context)
        zone = context.settings.zone
    if json:
        print_json(line.shown())
        return
    tell(t("线路: ", "line: ") + line.said(zone))
