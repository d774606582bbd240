"""stock import, sync, hold, release, lost, count, threshold: paper in somebody's keeping."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

import typer

from cli.book import ALL, Kind, Owner, export, show
from cli.imports import (
    File,
    Holders,
    Output,
    told_imported,
)
from cli.options import Json, code
from cli.orders import read_file
from cli.persons import By
from cli.runtime import (
    YES,
    agreed,
    opened,
    out,
    print_json,
    print_table,
    tell,
    writable_sheet,
    write_table,
)
from cli.sheet_options import Hidden, SheetName
from config.exits import Exit
from models.rules.calendar import business_date
from models.rules.errors import BadArgument
from models.rules.forecast import LOSS_REPORT_DAYS, loss_report_due
from models.rules.language import t
from models.rules.numbers import clean
from models.rules.people import kept_name, kept_reason
from models.rules.problems import Problem
from models.rules.serials import NotSerials, as_ranges, parse_serials, show_serials
from models.rules.states import label
from models.rules.stocktake import PILES
from sheets.imports import ISSUED_TOGETHER
from sheets.questions import Answers
from tasks.stock import custody, imports
from workers.simulated import tell_stock

Serials = Annotated[
    str, typer.Argument(help=t("流水号、列表或号段", "serials: one, a list, a range"))
]
Reason = Annotated[str, typer.Option("--reason", help=t("原因", "why"))]


def register(app: typer.Typer) -> None:
    """Add the groups `stock` and `register`."""
    stock = typer.Typer(no_args_is_help=True)
    for name, command, text in (
        ("import", stock_import, t("登记领用(表格)", "import issued ranges")),
        ("sync", stock_sync, t("从海关取领用清单", "take customs' list")),
        ("show", show, t("结存、号段、预计用完日期", "counts, ranges, forecast")),
        ("hold", hold, t("停用", "keep forms from being taken")),
        ("release", release, t("解除停用或遗失", "let held or lost forms be taken again")),
        ("lost", lost, t("报失：立即停用并打印报告", "block at once and print the report")),
        ("count", count, t("盘点", "compare a count of the paper with the book")),
        ("threshold", threshold, t("低库存警戒线", "from how few forms on stock is low")),
    ):
        stock.command(name, help=text)(command)
    app.add_typer(stock, name="stock")
    book = typer.Typer(no_args_is_help=True)
    book.command("export", help=t("导出台账(xlsx)", "write the register"))(export)
    app.add_typer(book, name="register")


def stock_import(
    file: File, sheet: SheetName = None, hidden: Hidden = None, json: Json = False
) -> None:
    """领用登记: ranges of serials issued to an owner."""
    answers = Answers(sheet=sheet, include_hidden=hidden)
    with opened() as context:
        done, ranges = imports.import_stock(context, read_file(file), file.name, answers)
        if context.settings.simulated:
            tell_stock(context.settings.simulator_folder, ranges)
    told_imported(
        done, json=json, simulated=context.settings.simulated, what=t("空白证单", "forms")
    )


def stock_sync(holder: Holders = None, json: Json = False) -> None:
    """Forms that customs has as issued and we do not know."""
    with opened() as context:
        holders = holder or imports.known_owners(context)
        done = imports.sync_stock(context, holders)
    told_imported(done, json=json, simulated=False, what=t("空白证单", "forms"))


# -- paper in somebody's keeping -----------------------------------------------------------------


def hold(
    serials: Serials, reason: Reason, kind: Kind = None, by: By = None, json: Json = False
) -> None:
    """Issued forms that must not be taken, with the reason."""
    with opened() as context:
        person = kept_name(by, context.actor)
        done = custody.hold(
            context, parsed(serials), code(kind), f"{kept_reason(reason)} ({person})"
        )
    _tell_done(done, t("已停用", "held"), json=json)


def release(
    serials: Serials, reason: Reason, kind: Kind = None, by: By = None, json: Json = False
) -> None:
    """Held forms, and lost ones that were found."""
    with opened() as context:
        person = kept_name(by, context.actor)
        done = custody.release(
            context, parsed(serials), code(kind), f"{kept_reason(reason)} ({person})"
        )
    _tell_done(done, t("已解除", "released"), json=json)


def lost(
    serials: Serials,
    reason: Reason = "",
    kind: Kind = None,
    by: By = None,
    yes: YES = False,
    json: Json = False,
) -> None:
    """Blocks at once; prints the report with the date by which it is due."""
    named = parsed(serials)
    question = t(
        f"报失 {len(named)} 张并立即停用？", f"report {len(named)} forms as lost and block them?"
    )
    if not agreed(question, yes=yes):
        return
    why = kept_reason(reason) if reason else t("遗失", "lost")
    with opened() as context:
        person = kept_name(by, context.actor)
        done = custody.lose(context, named, code(kind), f"{why} ({person})")
        today = business_date(context.now())
    before = [business_date(f.lost_at) for f in done.unchanged if f.lost_at]
    found = min([today, *before])  # told again, the days go on from the first time
    due = loss_report_due(found)
    concerned = [*done.changed, *done.unchanged]
    if not json and concerned:
        out().print(_loss_report(concerned, why, person, found, due), markup=False)
    _tell_done(done, t("已报失并停用", "reported lost, blocked"), json=json, report_due=str(due))


def _loss_report(
    forms: Sequence[custody.Concerned], reason: str, person: str, today: date, due: date
) -> str:
    by_stock: dict[tuple[str, str], list[str]] = {}
    for form in forms:
        by_stock.setdefault((form.owner, form.form_type), []).append(form.serial)
    lines = [
        t(
            f"  持有企业 {owner}，类型 {kind}，共 {len(s)} 张: {show_serials(s)}",
            f"  owner {owner}, type {kind}, {len(s)} forms: {show_serials(s)}",
        )
        for (owner, kind), s in by_stock.items()
    ]
    return "\n".join(
        [
            t("空白证单遗失报告", "Report of lost blank forms"),
            t("致: 签证海关", "To: the issuing customs"),
            *lines,
            t(f"  情况: {reason}", f"  circumstances: {reason}"),
            t(f"  发现日期: {today}    报告人: {person}", f"  found on {today} by {person}"),
            t(
                f"  须于 {due} 前报告({LOSS_REPORT_DAYS} 个工作日，按周一至周五计；遇法定节假日请顺延)",
                f"  to be reported by {due} ({LOSS_REPORT_DAYS} working days, Monday to Friday; public "
                "holidays are not counted in)",
            ),
            t(
                "  上述证单即日起停用，声明作废；核销系统中以原因 04 遗失 作废。",
                "  The forms are blocked from today and void; void them with reason 04.",
            ),
        ]
    )


def _tell_done(done: custody.Done, word: str, *, json: bool, **more: object) -> None:
    if json:
        print_json(
            {
                "changed": [f.serial for f in done.changed],
                "unchanged": [f.serial for f in done.unchanged],
                "refused": [
                    {"serial": f.serial, "state": f.state.value, "batch": f.batch_id}
                    for f in done.refused
                ],
                "endorsement": done.request,
                **more,
            }
        )
    elif done.request is not None:
        tell(t(f"已送复核: {done.request}", f"waits for a second person: {done.request}"))
    else:
        before = len(done.unchanged)
        tell(
            f"{word}: {len(done.changed)}"
            + (f" ({t('原已如此', 'before')} {before})" if before else "")
        )
        for form in done.refused:
            batch = (
                t(f"，批次 {form.batch_id}", f", batch {form.batch_id}") if form.batch_id else ""
            )
            tell(
                t(
                    f"{form.serial} 当前为“{label(form.state)}”{batch}，不能执行；批次未发出的部分可先取消",
                    f"{form.serial} is {form.state.value}{batch}: not possible now",
                )
            )
    if done.refused:
        raise typer.Exit(Exit.PROBLEMS)


def count(
    file: File,
    owner: Owner = None,
    kind: Kind = None,
    output: Output = None,
    sheet: SheetName = None,
    hidden: Hidden = None,
    json: Json = False,
) -> None:
    """A sheet or text file of what paper is there; changes nothing."""
    if output is not None:
        writable_sheet(output)
    answers = Answers(sheet=sheet, include_hidden=hidden)
    with opened() as context:
        found = custody.stocktake(
            context, read_file(file), file.name, code(owner), code(kind), answers
        )
    if output is not None:
        lines = (
            (str(PILES[name]), first, last)
            for name, s in found.piles.items()
            for first, last in as_ranges(s)
        )
        write_table(
            output,
            (
                t("盘点结果", "pile"),
                t("起始流水号", "first serial"),
                t("截止流水号", "last serial"),
            ),
            lines,
        )
    if json:
        print_json(
            {
                "counted": found.counted,
                "expected": found.expected,
                "adds_up": found.adds_up,
                "repeated": found.repeated,
                **{name: sorted(serials) for name, serials in found.piles.items()},
            }
        )
    else:
        print_table(
            (t("盘点结果", "pile"), t("张数", "forms"), t("流水号", "serials")),
            ((PILES[name], len(s), show_serials(s)) for name, s in found.piles.items() if s),
        )
        tell(
            t(
                f"实点 {found.counted}，账面应有 {found.expected}，重复 {len(found.repeated)}；各项相加一致",
                f"{found.counted} counted, {found.expected} expected, {len(found.repeated)} repeated; "
                "the piles add up",
            )
        )
    differs = any(s for name, s in found.piles.items() if name not in {"matched", "in_use"})
    if differs:
        raise typer.Exit(Exit.PROBLEMS)


def threshold(
    owner: Annotated[str, typer.Argument(help=t("持有企业", "owner (USCC)"))],
    kind: Annotated[str, typer.Argument(help=t("证单类型", "form type"))],
    forms: Annotated[
        int | None,
        typer.Argument(min=0, max=ALL, help=t("张数；不给则按 LOW_STOCK", "forms; else LOW_STOCK")),
    ] = None,
    json: Json = False,
) -> None:
    """A notification `stock.low` is sent when on hand falls below it."""
    with opened() as context:
        custody.set_threshold(context, clean(owner).upper(), clean(kind).upper(), forms)
    if json:
        print_json({"owner": clean(owner).upper(), "type": clean(kind).upper(), "threshold": forms})
        return
    tell(t("已设定", "set"))


def parsed(text: str) -> list[str]:
    """Serials as a person writes them. Raises `BadArgument`."""
    try:
        return parse_serials(text, ISSUED_TOGETHER)
    except NotSerials as error:
        problem = Problem(error.code, values={"value": error.text, "limit": ISSUED_TOGETHER})
        raise BadArgument(detail=problem.message) from None
