"""check, submit, verify, void: from an order to a confirmed batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cli.batches import print_batch, watch
from cli.options import Json
from cli.plans import Shown, show_plan, write_check
from cli.runtime import interactive, opened, tell
from cli.sheet_options import (
    Action_,
    Column,
    Hidden,
    IgnoreColumn,
    SheetName,
    Struck,
    answers_from,
)
from config.exits import Exit
from models.rules.errors import (
    BadArgument,
    BatchGoesOn,
    DatabaseUnreachable,
    FileUnreadable,
    NeedsYes,
    NothingToSubmit,
    PlanMoved,
    ReasonNeeded,
    RowsRefused,
)
from models.rules.language import t
from models.rules.people import kept_reason
from models.rules.states import Action, PagesMode, RowStatus, StockSource, label
from tasks.app import require_broker
from tasks.context import Context
from tasks.orders import confirming, intake, planning

Wait = Annotated[bool, typer.Option("--wait", help=t("等到全部有结果", "wait for the end"))]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help=t("确认提交，不再询问(不回答表的问题)", "confirm, do not ask (answers no question)"),
    ),
]
Again = Annotated[
    bool,
    typer.Option(
        "--again",
        help=t(
            "再次提交同样内容；与 --reason 同用时，同一证书可再核销",
            "the same again; with --reason also for a certificate under way",
        ),
    ),
]
Beyond = Annotated[
    bool,
    typer.Option(
        "--beyond-pages",
        help=t("允许超出证书页数(须 --reason)", "past the certificate's pages (needs --reason)"),
    ),
]
Reason = Annotated[
    str,
    typer.Option(
        "--reason", help=t("--again、--beyond-pages 的原因，记入经历", "why; kept in the history")
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help=t("只预检，不提交", "check only, submit nothing"))
]
Mode = Annotated[
    PagesMode,
    typer.Option(
        "--pages-mode",
        help=t(
            "页数的含义：additional 再用这么多张，top_up 补足到这么多张",
            "additional: so many more; top_up: so many in all",
        ),
    ),
]
Now = Annotated[
    bool,
    typer.Option("--now", help=t("不留撤回期，立即提交", "at once, with no time to take it back")),
]
File = Annotated[Path, typer.Argument(help=t("表格文件", "spreadsheet"))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check")(check)
    app.command("submit")(submit)
    app.command("verify")(verify)
    app.command("void")(void)


def check(
    file: File,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=t("把预检结果写成表格", "write the check as a sheet")),
    ] = None,
    sheet: SheetName = None,
    column: Column = None,
    ignore_column: IgnoreColumn = None,
    action: Action_ = None,
    hidden: Hidden = None,
    struck: Struck = None,
    again: Again = False,
    beyond_pages: Beyond = False,
    reason: Reason = "",
    pages_mode: Mode = PagesMode.ADDITIONAL,
    json: Json = False,
) -> None:
    """Check a sheet and show what would be done."""
    answers = answers_from(sheet, column, ignore_column, action, hidden, struck)
    lift = _lift(again=again, beyond=beyond_pages, reason=reason)
    with opened() as context:
        batch_id = intake.receive_sheet(context, read_file(file), file.name, pages_mode, answers)
        planning.check(context, batch_id, lift)
        shown = show_plan(context, batch_id, file, json=json)
        if output is not None:
            write_check(context, batch_id, output)
    if shown.questions or shown.counts.rows.get(RowStatus.PROBLEM):
        raise typer.Exit(Exit.PROBLEMS)


def submit(
    file: File,
    plan: Annotated[
        str | None,
        typer.Option(help=t("只执行预检给出的这个方案", "carry out exactly this plan")),
    ] = None,
    yes: Yes = False,
    only_valid: Annotated[
        bool, typer.Option("--only-valid", help=t("只提交无误的行", "submit the valid rows"))
    ] = False,
    all_or_nothing: Annotated[
        bool,
        typer.Option("--all-or-nothing", help=t("有一行有误就都不提交", "all rows or none")),
    ] = False,
    sheet: SheetName = None,
    column: Column = None,
    ignore_column: IgnoreColumn = None,
    action: Action_ = None,
    hidden: Hidden = None,
    struck: Struck = None,
    again: Again = False,
    beyond_pages: Beyond = False,
    reason: Reason = "",
    pages_mode: Mode = PagesMode.ADDITIONAL,
    dry_run: DryRun = False,
    now: Now = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Check, confirm, reserve and queue a sheet."""
    if only_valid and all_or_nothing:
        text = t(
            "--only-valid 与 --all-or-nothing 不能同时用",
            "use one of --only-valid, --all-or-nothing",
        )
        raise BadArgument(detail=text)
    answers = answers_from(sheet, column, ignore_column, action, hidden, struck)
    lift = _lift(again=again, beyond=beyond_pages, reason=reason)
    with opened() as context:
        batch_id = intake.receive_sheet(context, read_file(file), file.name, pages_mode, answers)
        made = planning.check(context, batch_id, lift)
        shown = show_plan(
            context, batch_id, file, json=json if dry_run else (None if json else False)
        )
        if shown.questions:
            raise confirming.questions_open(context, batch_id)
        if not again:
            confirming.refuse_submitted_before(context, batch_id)
        if plan is not None and plan != made:
            raise PlanMoved
        confirming.refuse_mostly_wrong(shown.counts, explicit=only_valid or plan is not None)
        said_so = confirming.Confirmation(plan, all_or_nothing, again, now)
        confirm_and_follow(
            context, batch_id, said_so, shown, yes=yes, wait=wait, json=json, dry_run=dry_run
        )


def verify(
    certificate: Annotated[str, typer.Argument(help=t("证书号", "certificate number"))],
    serials: Annotated[
        str | None,
        typer.Option(help=t("流水号，如 211013209-211013210", "e.g. 211013209-211013210")),
    ] = None,
    pages: Annotated[
        int | None, typer.Option(help=t("核销页数，由系统取号", "page count; serials are chosen"))
    ] = None,
    source: Annotated[
        StockSource | None,
        typer.Option(help=t("库存来源：出口商或代录入企业", "whose stock")),
    ] = None,
    pages_mode: Mode = PagesMode.ADDITIONAL,
    again: Again = False,
    beyond_pages: Beyond = False,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    now: Now = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Verify named serials, or so many pages."""
    if (serials is None) == (pages is None):
        raise BadArgument(detail=t("--serials 与 --pages 须给出一个", "give --serials or --pages"))
    cells = {"certificate": certificate, "action": label(Action.VERIFY)}
    if serials is not None:
        cells["serial"] = serials
    if pages is not None:
        cells["page_count"] = str(pages)
    if source is not None:
        cells["stock_source"] = source.value
    lift = _lift(again=again, beyond=beyond_pages, reason=reason)
    _order(cells, pages_mode, lift, yes=yes, wait=wait, json=json, dry_run=dry_run, now=now)


def void(
    certificate: Annotated[str, typer.Argument(help=t("证书号", "certificate number"))],
    serials: Annotated[str, typer.Option(help=t("流水号", "serials"))],
    reason: Annotated[
        str,
        typer.Option(
            help=t(
                "01 打印错误 02 污损 03 证书更改或重发 04 遗失 09 其他(须加 --text)",
                "01 misprint, 02 soiled, 03 certificate changed, 04 lost, 09 other (with --text)",
            )
        ),
    ],
    text: Annotated[str, typer.Option(help=t("原因说明", "explanation"))] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    now: Now = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Void named serials."""
    cells = {
        "certificate": certificate,
        "action": label(Action.VOID),
        "serial": serials,
        "reason": f"{reason} {text}".strip(),
    }
    nothing = planning.NOTHING_LIFTED
    mode = PagesMode.ADDITIONAL
    _order(cells, mode, nothing, yes=yes, wait=wait, json=json, dry_run=dry_run, now=now)


def _order(
    cells: dict[str, str],
    pages_mode: PagesMode,
    lift: planning.Lift,
    *,
    yes: bool,
    wait: bool,
    json: bool,
    dry_run: bool,
    now: bool,
) -> None:
    with opened() as context:
        name = " ".join(cells.values())
        batch_id = intake.receive_orders(context, name, [cells], pages_mode)
        planning.check(context, batch_id, lift)
        shown = show_plan(
            context, batch_id, None, json=json if dry_run else (None if json else False)
        )
        said_so = confirming.Confirmation(all_or_nothing=True, at_once=now)
        confirm_and_follow(
            context, batch_id, said_so, shown, yes=yes, wait=wait, json=json, dry_run=dry_run
        )


def _lift(*, again: bool, beyond: bool, reason: str) -> planning.Lift:
    """What is lifted. Raises `ReasonNeeded` where that must be explained."""
    if beyond and not reason:
        raise ReasonNeeded
    why = kept_reason(reason) if reason else None
    return planning.Lift(why if again else None, why if beyond else None)


def read_file(path: Path) -> bytes:
    """The bytes of a file that a person named. Raises `FileUnreadable`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileUnreadable(file=str(path), detail=error.strerror or str(error)) from error


# -- deciding -----------------------------------------------------------------------------------


def confirm_and_follow(
    context: Context,
    batch_id: int,
    said_so: confirming.Confirmation,
    shown: Shown,
    *,
    yes: bool,
    wait: bool,
    json: bool,
    dry_run: bool,
) -> None:
    """Ask, confirm what was shown, and show what becomes of it: the end of every order by command."""
    counts = shown.counts
    if dry_run:
        raise typer.Exit(Exit.PROBLEMS if counts.rows.get(RowStatus.PROBLEM) else Exit.DONE)
    if not counts.rows.get(RowStatus.OK):
        if json:
            print_batch(context, batch_id, json=True)
            raise typer.Exit(Exit.PROBLEMS)
        raise NothingToSubmit
    if not yes and said_so.plan is None:
        if not interactive():
            raise NeedsYes(flags="--yes / --plan")
        if not typer.confirm(shown.asking, err=True):
            tell(t("未提交", "nothing submitted"))
            raise typer.Exit(Exit.DONE)
        # what the person said yes to is what was shown, whatever is in the tables by now
        said_so = replace(said_so, plan=shown.plan)
    require_broker()
    try:
        goes_on = confirming.confirm(context, batch_id, said_so)
    except (NothingToSubmit, RowsRefused, PlanMoved):
        if not json:  # what is wrong now that was right a moment ago
            show_plan(context, batch_id, None, json=False)
        raise
    _tell_confirmed(batch_id, goes_on=goes_on)
    try:
        if wait and goes_on:
            watch(context, batch_id)
        refused = print_batch(context, batch_id, json=json)
    except DatabaseUnreachable as lost:
        raise BatchGoesOn(batch=batch_id, detail=lost.values.get("detail")) from lost
    if refused:
        raise typer.Exit(Exit.PROBLEMS)


def _tell_confirmed(batch_id: int, *, goes_on: bool) -> None:
    if goes_on:
        tell(t(f"批次 {batch_id} 已提交处理", f"batch {batch_id} is queued"))
        return
    tell(
        t(
            f"批次 {batch_id} 已送复核(blankforms endorsements)",
            f"batch {batch_id} waits for a second person (blankforms endorsements)",
        )
    )
