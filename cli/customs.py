"""customs show, moved, confirm; adopt-customs; line show, open: whose database this is, and whether messages leave."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.runtime import JSON_HELP, YES, agreed, opened, print_json, tell
from config.settings import origin_of
from models import deployment
from models.language import t
from models.links import line_of
from tasks import deployment as acts
from tasks.line import open_again

Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


def register(app: typer.Typer) -> None:
    """Add the groups `customs` and `line`, and the command `adopt-customs`."""
    customs = typer.Typer(help=t("对接的海关", "which customs this is"), no_args_is_help=True)
    customs.command("show", help=t("本数据库的企业和海关", "sender and customs of the database"))(
        show
    )
    customs.command("moved", help=t("同一海关换了地址", "the same customs at a new address"))(moved)
    customs.command("confirm", help=t("确认升级前的数据库", "confirm a database from before"))(
        confirm
    )
    app.add_typer(customs, name="customs")
    app.command(
        "adopt-customs",
        help=t("改用另一海关(尚未发过报文)", "another customs, before anything was sent"),
    )(adopt)
    line = typer.Typer(help=t("到海关的线路", "the line to customs"), no_args_is_help=True)
    line.command("show", help=t("是否畅通", "whether messages leave"))(line_show)
    line.command("open", help=t("原因已排除，恢复发送", "the cause is mended: send again"))(
        line_open
    )
    app.add_typer(line, name="line")


def show(json: Json = False) -> None:
    """What the database remembers, and what the settings say."""
    with opened(identified=False) as context, context.database.read() as session:
        known, given = deployment.known_identity(session), context.identity
    if json:
        document = {"settings": {"sender": given.sender, "customs": given.customs}}
        remembered = {"sender": known.sender, "customs": known.customs} if known else None
        print_json(document | {"database": remembered})
        return
    if known:
        tell(t(f"数据库: 企业 {known.sender}，海关 {deployment.named(known.customs)}",
               f"database: sender {known.sender}, customs {deployment.named(known.customs)}"))  # fmt: skip
    else:
        tell(t("数据库: 尚未记录", "database: not known yet"))
    tell(t(f"设置: 企业 {given.sender}，海关 {deployment.named(given.customs)}",
           f"settings: sender {given.sender}, customs {deployment.named(given.customs)}"))  # fmt: skip


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
            f"这个数据库属于企业 {given.sender}，对接海关 {deployment.named(given.customs)}？",
            f"does this database belong to the sender {given.sender}, and speak to the customs {deployment.named(given.customs)}?",
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
            f"从现在起改用企业 {given.sender}、海关 {deployment.named(given.customs)}？已登记的库存和证书会保留，请随后同步并对账",
            f"use the sender {given.sender} and the customs {deployment.named(given.customs)} from now on? Stock and certificates stay; "
            "sync and reconcile afterwards",
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
    if json:
        print_json(line.shown())
        return
    tell(t("线路: ", "line: ") + line.said(zone))


def line_open(json: Json = False) -> None:
    """After refusals for the card one message leaves first, and the others when it was taken."""
    with opened() as context:
        line = open_again(context)
        zone = context.settings.zone
    if json:
        print_json(line.shown())
        return
    tell(t("线路: ", "line: ") + line.said(zone))
