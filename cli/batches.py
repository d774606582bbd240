"""batch list, show, result, cancel; and watching a batch to its end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from xlsxwriter.exceptions import XlsxFileError

from cli import old_keys
from cli.options import Json
from cli.remedies import problem_worded, worded
from cli.runtime import (
    err,
    opened,
    out,
    print_json,
    print_json_with_rows,
    print_table,
    printable,
    shown_time,
    tell,
    writable_sheet,
)
from config.exits import Exit
from models.reads.batches import (
    BatchCounts,
    BatchFilter,
    batch_counts,
    batch_head,
    batch_progress,
    counts_document,
    list_batches,
)
from models.reads.cards import seen_cards, trouble_of
from models.reads.line import line_of
from models.reads.pauses import pauses_of
from models.reads.row_results import row_results
from models.rules.errors import BadArgument, BatchNotFound
from models.rules.language import t
from models.rules.results import RowResult
from models.rules.serials import show_serials
from models.rules.states import BatchState, CardState, FormState, RowOutcome, label
from models.tables.batches import Batch
from tasks.ability import hindrances
from tasks.context import Context
from tasks.orders import releasing
from tasks.receipts.reporting import write_result_sheet

LOOK_SECONDS: Final = 0.3
LOOK_MOST: Final = 1.0
LOOKS_EASE: Final = 30
"""How often a watcher looks at the database: after 0.3 s at first, after a second when it has watched for 20 s.
A batch that takes minutes does not need three looks a second: each is a read of the database."""

STILL_SECONDS: Final = 30
"""Without any movement for so long, the watcher says what may be missing."""

_SHOWN: Final = 50
_FOR_A_PERSON: Final = frozenset({CardState.PIN_REFUSED, CardState.UNFIT})
_ENDED: Final = frozenset({BatchState.FINISHED, BatchState.CANCELLED})

Number = Annotated[int, typer.Argument(help=t("批次号", "batch number"))]


def register(app: typer.Typer) -> None:
    """Add the group `batch`."""
    from cli.redoing import redo  # it orders, and whatever orders shows batches by this module

    group = typer.Typer(no_args_is_help=True)
    group.command("list", help=t("批次列表", "list batches"))(list_)
    group.command("show", help=t("批次明细", "one batch with its rows"))(show)
    group.command("result", help=t("写出结果表", "write the result sheet"))(result)
    group.command("cancel", help=t("取消未发出的部分", "take back what has not left"))(cancel)
    group.command("redo", help=t("重做失败行，或改核销/作废", "order once more"))(redo)
    app.add_typer(group, name="batch")


def list_(
    limit: Annotated[int, typer.Option(min=1)] = 50,
    mine: Annotated[bool, typer.Option("--mine", help=t("只列我的", "mine alone"))] = False,
    json: Json = False,
) -> None:
    """Newest first."""
    with opened() as context, context.database.read() as session:
        batches = list(list_batches(session, limit, BatchFilter(context.actor if mine else None)))
        zone = context.settings.zone
    if json:
        print_json({"batches": [old_keys.listed(b) for b in batches]})
        return
    titles = (t("批次", "batch"), t("状态", "state"), t("文件", "file"), t("行", "rows"))
    print_table(
        (*titles, t("未结证单", "open forms"), t("制单人", "made by"), t("时间", "created")),
        (
            (b["id"], label(BatchState(b["state"])), b["file"], b["row_count"], b["open_forms"],
             b["made_by"] or "-", shown_time(b["created_at"], zone))
            for b in batches
        ),
    )  # fmt: skip


def show(
    batch: Number,
    watch_it: Annotated[
        bool, typer.Option("--watch", help=t("跟踪到结束", "follow to the end"))
    ] = False,
    json: Json = False,
) -> None:
    """Counts and rows."""
    with opened() as context:
        if watch_it:
            watch(context, batch)
        refused = print_batch(context, batch, json=json)
    if refused:
        raise typer.Exit(Exit.PROBLEMS)


def result(
    batch: Number,
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.xlsx / FILE.csv")],
    refused: Annotated[
        bool, typer.Option("--refused", help=t("只写失败的行", "refused rows only"))
    ] = False,
) -> None:
    """The user's own rows and columns, plus what became of each."""
    writable_sheet(output)
    with opened() as context:
        try:
            count = write_result_sheet(context, batch, output, refused_only=refused)
        except (OSError, XlsxFileError) as error:
            raise BadArgument(detail=f"{output}: {error}") from error
    tell(t(f"已写出 {count} 行: {output}", f"{count} rows written: {output}"))


def cancel(batch: Number, json: Json = False) -> None:
    """What is at customs, or may be, goes on."""
    with opened() as context:
        done = releasing.cancel(context, batch)
    if json:
        counted = {"released": done.released, "at_customs": done.at_customs}
        print_json({"batch": batch, **counted, "serials_at_customs": list(done.serials)})
        return
    tell(
        t(
            f"已取消：收回 {done.released} 张；已在海关、不能收回 {done.at_customs} 张",
            f"cancelled: {done.released} forms taken back, {done.at_customs} already at customs",
        )
    )
    if done.serials:
        tell(t("已在海关: ", "at customs: ") + show_serials(done.serials))


# -- shared with submit -------------------------------------------------------------------------


def print_batch(context: Context, batch_id: int, *, json: bool) -> int:
    """Show a batch; gives how many of its rows are refused so far."""
    with context.database.read() as session:
        batch = session.get(Batch, batch_id)
        if batch is None:
            raise BatchNotFound(batch=batch_id)
        outcomes = Counter(r.outcome for r in row_results(session, batch))
        counts = batch_counts(session, batch_id)
        rows = row_results(session, batch)
        if json:
            document = batch_head(batch) | {"counts": counts_document(batch, counts)}
            document["outcomes"] = {o.value: outcomes[o] for o in RowOutcome}
            document["line"] = line_of(session, context.now()).shown()
            print_json_with_rows(
                old_keys.batch(document), (old_keys.batch_row(r.document()) for r in rows)
            )
        else:
            _print(context, batch, counts, outcomes, rows)
    return outcomes[RowOutcome.REFUSED]


def _print(
    context: Context,
    batch: Batch,
    counts: BatchCounts,
    outcomes: Counter[RowOutcome],
    rows: Iterator[RowResult],
) -> None:
    console = out()
    title = t("批次", "batch")
    console.print(
        f"{title} {batch.id}  {label(batch.state)}  {printable(batch.file_name)}", markup=False
    )
    if (said := time_left(batch, context.now(), context.settings.zone)) is not None:
        console.print(said, markup=False)
    parts = [f"{label(o)} {outcomes[o]}" for o in RowOutcome if outcomes[o]]
    console.print(t("行: ", "rows: ") + ", ".join(parts), markup=False)
    forms = [f"{label(s)} {counts.forms[s]}" for s in FormState if counts.forms.get(s)]
    if counts.refused_forms:
        forms.append(t(f"海关退回 {counts.refused_forms}", f"refused {counts.refused_forms}"))
    console.print(t("空白证单: ", "forms: ") + (", ".join(forms) or "-"), markup=False)
    wrong = [
        (row.number, row.certificate, row.serials, p.code, problem_worded(p))
        for row, _ in zip((r for r in rows if r.problems), range(_SHOWN), strict=False)
        for p in row.problems
    ]
    if wrong:
        titles = (t("行", "row"), t("证书号", "certificate"), t("流水号", "serials"))
        print_table((*titles, t("代码", "code"), t("原因", "reason")), wrong)
    total = outcomes[RowOutcome.REFUSED]
    if total > _SHOWN:
        err().print(t(f"共 {total} 行失败", f"{total} rows refused"))
    if batch.state is BatchState.WORKING:
        for said in (*what_stops_it(context), *paused_parts(context, batch.id)):
            tell(said)


def time_left(batch: Batch, now: datetime, zone: ZoneInfo) -> str | None:
    """Until when all of it can be taken back; None when that is over."""
    end = batch.grace_until
    if end is None or end <= now or batch.state is not BatchState.WORKING:
        return None
    at = end.astimezone(zone)
    return t(
        f"已受理，{at:%H:%M} 后提交，可撤回(blankforms batch cancel {batch.id})",
        f"accepted, submitted after {at:%H:%M}, can be taken back (blankforms batch cancel {batch.id})",
    )


def what_stops_it(context: Context) -> list[str]:
    """Why a batch that is under way may stand still; empty when an order can be carried out now."""
    found = hindrances(context.settings, context.database)
    return [worded(h.error) for h in found]


def paused_parts(context: Context, batch_id: int) -> list[str]:
    """What a person has stopped of this batch: the whole of it, or what is of an exporter."""
    with context.database.read() as session:
        found = pauses_of(session, batch_id)
    return [
        t(
            f"已由 {p.by} 暂停({p.reason})；恢复: blankforms line resume --{p.scope} {p.value}",
            f'paused by {p.by} ({p.reason}); to go on: "blankforms line resume --{p.scope} {p.value}"',
        )
        for p in found
    ]


def watch(context: Context, batch_id: int) -> None:
    """Follow a batch until nothing of it is open; a bar by state on a terminal, nothing otherwise.

    Says why it may stand still. Raises `BatchNotFound`, and what is wrong with a card that will not sign
    before a person acts.
    """
    began = moved_at = time.monotonic()
    before, looked_at = None, 0.0
    told: set[str] = set()
    stopped = what_stops_it(context)
    tell(
        t("现在可以办理", "orders can be carried out now")
        if not stopped
        else t(
            "现在不能办理到底，排除后自动继续:",
            "orders cannot be carried out to their end now; they go on when this is mended:",
        )
    )
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[states]}"),
        console=err(),
        disable=not sys.stderr.isatty(),
    ) as progress:
        bar = progress.add_task(t(f"批次 {batch_id}", f"batch {batch_id}"), states="")
        with context.database.read() as session:
            total = batch_counts(
                session, batch_id
            ).planned_forms  # once: there may be a hundred thousand
        while True:
            with context.database.read() as session:
                batch = session.get(Batch, batch_id)
                if batch is None:
                    raise BatchNotFound(batch=batch_id)
                how_far = batch_progress(session, batch_id)
                cards = seen_cards(session)
            if batch.state in _ENDED:
                progress.update(bar, total=total or None, completed=total)
                return
            progress.update(
                bar,
                total=total or None,
                completed=how_far.ended,
                states=" ".join(f"{label(s)} {n}" for s, n in sorted(how_far.forms.items())),
            )
            since = batch.confirmed_at or batch.created_at
            for card in cards:
                trouble = trouble_of(card)
                if card.state in _FOR_A_PERSON and card.seen_at >= since and trouble:
                    raise trouble
            if how_far != before:
                moved_at, before = time.monotonic(), how_far
            elif time.monotonic() - max(moved_at, looked_at) > STILL_SECONDS:
                stopped, looked_at = what_stops_it(context), time.monotonic()
            for said in (*stopped, *paused_parts(context, batch_id)):
                if said not in told:
                    told.add(said)
                    progress.console.print(said, markup=False)
            time.sleep(min(LOOK_SECONDS + (time.monotonic() - began) / LOOKS_EASE, LOOK_MOST))
