"""journal: what was sent that the database does not know, after a backup was restored."""

from __future__ import annotations

import typer

from cli.options import Json
from cli.persons import By
from cli.runtime import YES, agreed, opened, print_json, print_table, tell
from config.exits import Exit
from models.rules.language import t
from models.rules.people import kept_name
from models.rules.states import Action, label
from tasks.journal import Entry
from tasks.night import restored


def register(app: typer.Typer) -> None:
    """Add the group `journal`."""
    group = typer.Typer(
        invoke_without_command=True,
    )
    group.callback()(show)
    group.command(
        "accept", help=t("差异已处理，恢复发送", "what differs is dealt with; send again")
    )(accept)
    app.add_typer(group, name="journal")


def show(context: typer.Context, json: Json = False) -> None:
    """Every message that was sent and that the database does not know."""
    if context.invoked_subcommand is not None:
        return
    with opened() as opened_context:
        entries = restored.unknown(opened_context)
        marked = opened_context.journal.restored_at()
    _print(entries, json=json)
    if marked and not json:
        tell(
            t(
                "恢复过备份，备份之后发送的报文无从得知；请先对账并处理差异，再 blankforms journal accept",
                "a backup came back, and nothing tells what was sent after it: reconcile, repair, then "
                '"blankforms journal accept"',
            )
        )
    if entries or marked:
        raise typer.Exit(Exit.PROBLEMS)


def accept(by: By = None, yes: YES = False, json: Json = False) -> None:
    """Reserve and send again. Needs a finished reconciliation since the last message."""
    with opened() as context:
        if not agreed(
            t(
                "数据库将被视为完整，恢复预占和发送。确定？",
                "the database will count as whole, reserving and sending go on. Sure?",
            ),
            yes=yes,
        ):
            return
        entries = restored.accept(context, kept_name(by, context.actor))
    _print(entries, json=json)
    if not json:
        tell(t("已恢复预占和发送", "reserving and sending go on"))


def _print(entries: list[Entry], *, json: bool) -> None:
    if json:
        print_json({"unknown": [
            {"at": e.at, "number": e.number, "count": e.count, "action": e.action,
             "certificate": e.certificate} for e in entries
        ]})  # fmt: skip
        return
    if not entries:
        tell(t("数据库与发送日志一致", "the database knows everything that was sent"))
        return
    print_table(
        (
            t("发送时间", "sent at"),
            t("报文编号", "message"),
            t("操作", "operation"),
            t("证书号", "certificate"),
        ),
        [(e.at, e.number, label(Action(e.action)), e.certificate) for e in entries],
    )
