"""How a plan is shown before anybody says yes: its headline, its questions, its problems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from xlsxwriter.exceptions import XlsxFileError

from cli import old_keys
from cli.remedies import problem_worded, worded
from cli.runtime import (
    err,
    out,
    print_json_with_rows,
    print_table,
    printable,
    tell,
    writable_sheet,
)
from models.reads.batches import BatchCounts
from models.reads.plans import PlanRow, PlanView, plan_rows, plan_view
from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.problems import Problem
from models.rules.states import Action, RowStatus, label
from models.tables.batches import Batch
from sheets.questions import Question, load_question
from sheets.told import how_read
from tasks.context import Context
from tasks.orders.confirming import questions_of, submitted_before
from tasks.receipts.reporting import write_check_sheet

_SHOWN: Final = 50
_NOTED: Final = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown, as a yes to it needs it."""

    plan: str | None
    counts: BatchCounts
    questions: list[Question]
    asking: str
    """The question before the deed."""


def show_plan(context: Context, batch_id: int, file: Path | None, *, json: bool | None) -> Shown:
    """Show the plan as JSON or for a person; `json` None shows nothing. Gives what was shown."""
    with context.database.read() as session:
        view = plan_view(session, batch_id)
        batch = view.batch
        before = submitted_before(session, batch)
        questions = [load_question(q) for q in batch.questions]
        if json:
            document = view.document()
            if file is not None:
                document["file"] = str(file)
            document["submitted_before"] = before.id if before else None
            document["questions"] = [q.shown() for q in questions]
            if questions:
                open_ones = questions_of(batch)
                document["error"] = {"code": open_ones.code, "message": worded(open_ones)}
            print_json_with_rows(
                old_keys.plan(document), (r.document() for r in plan_rows(session, batch))
            )
        elif json is not None:
            _print_plan(view, before, questions, plan_rows(session, batch))
    return Shown(batch.plan, view.counts, questions, _asking(view))


def write_check(context: Context, batch_id: int, path: Path) -> None:
    """The person's sheet with what the check says of each row."""
    writable_sheet(path)
    try:
        count = write_check_sheet(context, batch_id, path)
    except (OSError, XlsxFileError) as error:
        raise BadArgument(detail=f"{path}: {error}") from error
    tell(t(f"已写出 {count} 行: {path}", f"{count} rows written: {path}"))


def _asking(view: PlanView) -> str:
    return t(
        f"{_headline(view)}，提交后不可撤销。确定提交？",
        f"{_headline(view)}. This cannot be undone. Submit?",
    )


def _headline(view: PlanView) -> str:
    """How many to verify and to void; what is the rarer and the worse comes first."""
    verify = t(f"核销 {view.verify} 张", f"verify {view.verify} forms")
    if not view.void:
        return verify
    void = t(
        f"将作废 {view.void} 张空白证单(不可撤销)", f"{view.void} forms will be voided (for ever)"
    )
    return f"{void}，{verify}" if view.verify else void


_OPTIONS: Final = {
    "certificate": "CERT",
    "serial": "--serials",
    "page_count": "--pages",
    "stock_source": "--source",
    "reason": "--reason",
    "action": "",
}
"""Where a single order says what a sheet says in a column."""


def _place(batch: Batch, problem: Problem) -> str:
    """The cell of the sheet, or the option of a single order."""
    if batch.sha256 is None and batch.row_count == 1:
        return _OPTIONS.get(problem.field, "")
    return problem.cell


def _print_plan(
    view: PlanView, before: Batch | None, questions: list[Question], rows: Iterator[PlanRow]
) -> None:
    batch, counts = view.batch, view.counts
    console = out()
    title = t("预检", "check")
    number = t(f"批次 {batch.id}", f"batch {batch.id}")
    _say(console, f"{title}: {printable(batch.file_name)}  {printable(batch.sheet)}  ({number})")
    _say(console, _headline(view))
    problems = counts.rows.get(RowStatus.PROBLEM, 0)
    _say(
        console,
        t(
            f"共 {batch.row_count} 行：可提交 {counts.rows.get(RowStatus.OK, 0)}，有问题 {problems}，"
            f"跳过 {counts.rows.get(RowStatus.SKIPPED, 0)}；涉及空白证单 {counts.planned_forms} 张",
            f"{batch.row_count} rows: {counts.rows.get(RowStatus.OK, 0)} ok, {problems} problems, "
            f"{counts.rows.get(RowStatus.SKIPPED, 0)} skipped; {counts.planned_forms} forms",
        ),
    )
    for line in (
        *_serial_lines(view),
        *_reason_lines(view),
        *_reading_lines(view),
        *_stock_lines(view),
    ):
        _say(console, line)
    if before is not None:
        when = f"{before.confirmed_at:%Y-%m-%d}" if before.confirmed_at else ""
        _say(
            console,
            t(
                f"注意: 同样内容已作为批次 {before.id} 提交({when})",
                f"note: the same content was submitted as batch {before.id} ({when})",
            ),
        )
    _say(console, t(f"方案号: {batch.plan}", f"plan: {batch.plan}"))
    _print_questions(questions)
    _print_problems(batch, rows, problems)


def _say(console: Console, text: str) -> None:
    console.print(printable(text), markup=False)


def _serial_lines(view: PlanView) -> Iterator[str]:
    for action in (Action.VOID, Action.VERIFY):
        runs = view.ranges[action]
        if runs:
            text = ", ".join(a if a == b else f"{a}-{b}" for a, b in runs)
            rest = t(
                f" … 全部见 batch show {view.batch.id} --json",
                f" … all: batch show {view.batch.id} --json",
            )
            yield f"{label(action)}: {text}{rest if view.more[action] else ''}"


def _reason_lines(view: PlanView) -> Iterator[str]:
    """Why forms are voided, as customs will be told."""
    for reason in view.reasons:
        yield t(
            f"作废原因: {reason.words} ({reason.rows} 行)",
            f"reason of voids: {reason.words} ({reason.rows} rows)",
        )


def _reading_lines(view: PlanView) -> Iterator[str]:
    """What was assumed, and what of the file was not used."""
    yield from how_read(view.batch.reading, asked=bool(view.batch.questions))
    if view.top_up:
        yield t("页数方式: 补足到所写页数", "page counts: topped up to what is written")


def _stock_lines(view: PlanView) -> Iterator[str]:
    for s in view.stocks:
        yield t(
            f"库存 {s.owner} {s.form_type}: {s.before} → {s.before - s.taken}",
            f"stock {s.owner} {s.form_type}: {s.before} → {s.before - s.taken}",
        )
        if s.short:
            yield t(
                f"库存不足: 需要 {s.wanted} 张，可用 {s.before} 张，缺 {s.short} 张",
                f"stock too short: {s.wanted} wanted, {s.before} available, {s.short} missing",
            )


def _print_questions(questions: list[Question]) -> None:
    if not questions:
        return
    console = out()
    _say(
        console,
        t(
            f"有 {len(questions)} 处需要先回答(在命令后加上所选的一项):",
            f"{len(questions)} questions must be answered first (add one of the options):",
        ),
    )
    for number, question in enumerate(questions, start=1):
        _say(console, f"  {number}. [{question.code}] {question.message}")
        if question.samples:
            _say(console, t("     例如: ", "     for example: ") + " | ".join(question.samples))
        for answer in question.answers:
            _say(console, f"     {quoted(answer)}")


def quoted(answer: str) -> str:
    """An option as a shell takes it."""
    option, blank, value = answer.partition(" ")
    plain = value.replace("=", "").replace("_", "").isalnum()
    return f"{option}{blank}{value}" if plain or not value else f'{option}{blank}"{value}"'


def _print_problems(batch: Batch, rows: Iterator[PlanRow], problems: int) -> None:
    wrong: list[tuple[object, ...]] = []
    unknown: dict[str, int] = {}
    for one in rows:
        row = one.row
        if row.problems and len({w[0] for w in wrong}) < _SHOWN:
            wrong += (
                (row.number, _place(batch, p), p.code, problem_worded(p), p.suggestion)
                for p in row.problems
            )
        if one.pages is None and one.has and len(unknown) < _NOTED:
            unknown[row.certificate] = one.has
    for certificate, has in unknown.items():
        _say(
            out(),
            t(
                f"注意: 证书 {certificate} 的页数未知，已有 {has} 张",
                f"note: pages of certificate {certificate} are unknown; it has {has} forms already",
            ),
        )
    if wrong:
        titles = (
            *(t("行", "row"), t("位置", "where"), t("代码", "code"), t("问题", "problem")),
            t("建议", "suggestion"),
        )
        print_table(titles, wrong)
    if problems > _SHOWN:
        more = problems - _SHOWN
        err().print(t(f"另有 {more} 行有问题，见 --json", f"{more} more rows: see --json"))
