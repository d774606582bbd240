"""check, submit, verify, void: from an order to a confirmed batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.batches import print_batch, watch
from cli.runtime import (
    JSON_HELP,
    err,
    interactive,
    opened,
    out,
    print_json_with_rows,
    print_table,
    printable,
    tell,
)
from models.batches import Batch
from models.errors import BadArgument, Exit, FileUnreadable, NothingToSubmit, PlanMoved, RowsRefused
from models.language import t
from models.outcomes import BatchCounts, RowResult, batch_counts, row_results
from models.states import Action, PagesMode, RowStatus, StockSource, label
from tasks import allocation, intake, planning
from tasks.app import require_broker
from tasks.context import Context

PROBLEM_RATE: Final = 0.10
"""Share of problem rows above which valid rows alone are only submitted when asked: a sheet that is
mostly wrong is probably the wrong sheet (features A-7)."""

_SHOWN: Final = 50

Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Wait = Annotated[bool, typer.Option("--wait", help=t("等到全部有结果", "wait for the end"))]
Yes = Annotated[bool, typer.Option("--yes", "-y", help=t("不再询问", "do not ask"))]
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
File = Annotated[Path, typer.Argument(help=t("表格文件", "spreadsheet"))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check", help=t("预检：不预占、不提交", "dry run: reserves nothing"))(check)
    app.command("submit", help=t("预检、确认并提交表格", "check, confirm and submit a sheet"))(
        submit
    )
    app.command("verify", help=t("核销一份证书的空白证单", "verify forms of one certificate"))(
        verify
    )
    app.command("void", help=t("作废一份证书的空白证单", "void forms of one certificate"))(void)


def check(file: File, pages_mode: Mode = PagesMode.ADDITIONAL, json: Json = False) -> None:
    """Check a sheet and show what would be done."""
    with opened() as context:
        batch_id = intake.receive_sheet(context, read_file(file), file.name, pages_mode)
        planning.check(context, batch_id)
        counts = _show_plan(context, batch_id, file, json=json)
    if counts.rows.get(RowStatus.PROBLEM):
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
    again: Annotated[
        bool,
        typer.Option("--again", help=t("再次提交同样内容", "submit the same content again")),
    ] = False,
    pages_mode: Mode = PagesMode.ADDITIONAL,
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
    with opened() as context:
        content = read_file(file)
        if not again:
            allocation.refuse_submitted_before(context, hashlib.sha256(content).hexdigest())
        batch_id = intake.receive_sheet(context, content, file.name, pages_mode)
        made = planning.check(context, batch_id)
        if plan is not None and plan != made:
            raise PlanMoved
        counts = _show_plan(context, batch_id, file, json=None if json else False)
        _stop_if_mostly_wrong(counts, explicit=only_valid or plan is not None)
        said = allocation.Confirmation(plan, all_or_nothing, again)
        _confirm_and_follow(context, batch_id, said, counts, yes=yes, wait=wait, json=json)


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
    yes: Yes = False,
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
    _order(cells, pages_mode, yes=yes, wait=wait, json=json)


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
    _order(cells, PagesMode.ADDITIONAL, yes=yes, wait=wait, json=json)


def _order(
    cells: dict[str, str], pages_mode: PagesMode, *, yes: bool, wait: bool, json: bool
) -> None:
    with opened() as context:
        name = " ".join(cells.values())
        batch_id = intake.receive_orders(context, name, [cells], pages_mode)
        planning.check(context, batch_id)
        counts = _show_plan(context, batch_id, None, json=None if json else False)
        said = allocation.Confirmation(all_or_nothing=True)
        _confirm_and_follow(context, batch_id, said, counts, yes=yes, wait=wait, json=json)


def read_file(path: Path) -> bytes:
    """The bytes of a file that a person named. Raises `FileUnreadable`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileUnreadable(file=str(path), detail=error.strerror or str(error)) from error


# -- deciding -----------------------------------------------------------------------------------


def _stop_if_mostly_wrong(counts: BatchCounts, *, explicit: bool) -> None:
    problems = counts.rows.get(RowStatus.PROBLEM, 0)
    rows = problems + counts.rows.get(RowStatus.OK, 0)
    if not explicit and problems > PROBLEM_RATE * rows:
        raise RowsRefused(problems=problems, rows=rows)


def _confirm_and_follow(
    context: Context,
    batch_id: int,
    said: allocation.Confirmation,
    counts: BatchCounts,
    *,
    yes: bool,
    wait: bool,
    json: bool,
) -> None:
    if not counts.rows.get(RowStatus.OK):
        if json:
            print_batch(context, batch_id, json=True)
            raise typer.Exit(Exit.PROBLEMS)
        raise NothingToSubmit
    if interactive() and not yes:
        question = t(
            f"提交后不可撤销。提交 {counts.planned_forms} 张空白证单？",
            f"This cannot be undone. Submit {counts.planned_forms} forms?",
        )
        if not typer.confirm(question, err=True):
            tell(t("未提交", "nothing submitted"))
            raise typer.Exit(Exit.DONE)
        with context.database.read() as session:  # the person said yes to what is shown
            shown = session.get_one(Batch, batch_id).plan
        said = allocation.Confirmation(shown, said.all_or_nothing, said.again)
    require_broker()
    try:
        allocation.confirm(context, batch_id, said)
    except (NothingToSubmit, RowsRefused, PlanMoved):
        if not json:  # what is wrong now that was right a moment ago
            _show_plan(context, batch_id, None, json=False)
        raise
    tell(t(f"批次 {batch_id} 已提交处理", f"batch {batch_id} is queued"))
    if wait:
        watch(context, batch_id)
    refused = print_batch(context, batch_id, json=json)
    if refused:
        raise typer.Exit(Exit.PROBLEMS)


# -- showing ------------------------------------------------------------------------------------


def _show_plan(
    context: Context, batch_id: int, file: Path | None, *, json: bool | None
) -> BatchCounts:
    """Show the plan as JSON or for a person; `json` None shows nothing. Gives the counts."""
    with context.database.read() as session:
        batch = session.get_one(Batch, batch_id)
        counts = batch_counts(session, batch_id)
        if json:
            rows = (_plan_row(r) for r in row_results(session, batch))
            print_json_with_rows(_plan_document(batch, counts, file), rows)
        elif json is not None:
            _print_plan(batch, counts, row_results(session, batch))
    return counts


def _plan_document(batch: Batch, counts: BatchCounts, file: Path | None) -> dict[str, Any]:
    return {
        "batch": batch.id,
        "file": str(file) if file else batch.file_name,
        "sha256": batch.sha256,
        "sheet": batch.sheet,
        "plan": batch.plan,
        "counts": {
            "rows": batch.row_count,
            "ok": counts.rows.get(RowStatus.OK, 0),
            "problem": counts.rows.get(RowStatus.PROBLEM, 0),
            "skipped": counts.rows.get(RowStatus.SKIPPED, 0),
            "blank": batch.blank_count,
            "forms": counts.planned_forms,
        },
    }


def _plan_row(row: RowResult) -> dict[str, Any]:
    return {
        "row": row.number,
        "status": row.status.value,
        "certificate": row.certificate,
        "action": row.action.value if row.action else None,
        "serials": list(row.serial_list),
        "problems": [p.shown() for p in row.problems],
    }


def _print_plan(batch: Batch, counts: BatchCounts, rows: Iterator[RowResult]) -> None:
    wrong = [
        (row.number, p.cell, p.code, p.message, p.suggestion)
        for row, _ in zip((r for r in rows if r.problems), range(_SHOWN), strict=False)
        for p in row.problems
    ]
    problems = counts.rows.get(RowStatus.PROBLEM, 0)
    console = out()
    title = t("预检", "check")
    console.print(f"{title}: {printable(batch.file_name)}  {printable(batch.sheet)}", markup=False)
    console.print(
        t(
            f"共 {batch.row_count} 行：可提交 {counts.rows.get(RowStatus.OK, 0)}，有问题 {problems}，"
            f"跳过 {counts.rows.get(RowStatus.SKIPPED, 0)}；涉及空白证单 {counts.planned_forms} 张",
            f"{batch.row_count} rows: {counts.rows.get(RowStatus.OK, 0)} ok, {problems} problems, "
            f"{counts.rows.get(RowStatus.SKIPPED, 0)} skipped; {counts.planned_forms} forms",
        ),
        markup=False,
    )
    console.print(t(f"方案号: {batch.plan}", f"plan: {batch.plan}"), markup=False)
    if wrong:
        titles = (
            *(t("行", "row"), t("单元格", "cell"), t("代码", "code"), t("问题", "problem")),
            t("建议", "suggestion"),
        )
        print_table(titles, wrong)
    if problems > _SHOWN:
        more = problems - _SHOWN
        err().print(t(f"另有 {more} 行有问题，见 --json", f"{more} more rows: see --json"))
