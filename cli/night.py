"""reconcile (run, list, show, repair) and audit verify: what is done by night, and what is proved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Final

import typer

from cli.imports import DATE_FORMATS, Output, day
from cli.options import LARGEST_NUMBER, Json
from cli.persons import By
from cli.runtime import (
    YES,
    agreed,
    opened,
    out,
    print_json,
    print_json_with_rows,
    print_table,
    shown_time,
    tell,
    writable_sheet,
    write_table,
)
from config.exits import Exit
from models.reads.nights import differences, list_runs, run_head
from models.rules.chain import Tamper
from models.rules.differences import TREATMENTS, DifferenceClass
from models.rules.errors import RunNotFound
from models.rules.language import Text, t
from models.rules.people import kept_name, kept_reason
from models.rules.states import FormState, RepairState, RunState, label
from models.rules.verdicts import CUSTOMS_STATE_WORDS
from models.tables.reconciliation import Run
from tasks.context import Context
from tasks.night import audit, reconciliation, repairing
from tasks.night.repair_actions import Order

LOOK_SECONDS: Final = 0.5
"""How often it is looked whether another process has finished the run."""

_SHOWN: Final = 50

TAMPER_WORDS: Final = {
    Tamper.EDITED: Text("被修改", "edited"),
    Tamper.REMOVED: Text("被删除", "removed"),
    Tamper.INSERTED: Text("系伪造插入", "inserted"),
    Tamper.REORDERED: Text("次序被调换", "reordered"),
    Tamper.CUT: Text("末尾被截去", "cut off at the end"),
    Tamper.ANCHOR: Text("与锚文件不符(历史被截去或整段改写)", "differs from the anchor"),
    Tamper.FORM: Text("与其历史不符(状态、证书或停用被改)", "not as its history left it"),
    Tamper.ANCHOR_FILE: Text("锚文件缺失或被改", "anchor missing or changed"),
}

Number = Annotated[
    int, typer.Argument(min=1, max=LARGEST_NUMBER, help=t("对账号", "number of the run"))
]
Classes = Annotated[
    list[DifferenceClass] | None,
    typer.Option("--class", help=t("只处理该类，可多次", "this class only, may be repeated")),
]


def register(app: typer.Typer) -> None:
    """Add the groups `reconcile` and `audit`."""
    group = typer.Typer(
        invoke_without_command=True,
    )
    group.callback()(reconcile)
    group.command("list", help=t("历次对账", "runs"))(list_)
    group.command("show", help=t("对账报告", "the report of one run"))(show)
    group.command("repair", help=t("按默认办法处理差异", "carry out the default actions"))(repair)
    app.add_typer(group, name="reconcile")
    audited = typer.Typer(no_args_is_help=True)
    audited.command("verify", help=t("校验全部证单经历未被篡改", "prove the history"))(verify)
    app.add_typer(audited, name="audit")


def reconcile(
    context: typer.Context,
    on: Annotated[
        datetime | None,
        typer.Option(
            "--date", formats=DATE_FORMATS, help=t("业务日期，默认今天(北京时间)", "business date")
        ),
    ] = None,
    json: Json = False,
) -> None:
    """One run for each date: a second one continues it, or shows it."""
    if context.invoked_subcommand is not None:
        return
    with opened() as opened_context:
        run_id = run_to_the_end(opened_context, day(on))
        found = _print_run(opened_context, run_id, None, json=json)
    if found:
        raise typer.Exit(Exit.PROBLEMS)


def run_to_the_end(context: Context, on: date | None) -> int:
    """Run, or follow the process that does; gives the run. Raises `GatewayUnreachable`."""
    run_id = reconciliation.open_run(context, on)
    told = False
    while reconciliation.run_state(context, run_id) is not RunState.FINISHED:
        if reconciliation.reconcile(context, run_id) is None:
            if not told:
                tell(t("另一进程正在对账，等待其完成…", "another process is at it, waiting…"))
            told = True
            time.sleep(LOOK_SECONDS)
    return run_id


def list_(
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_NUMBER)] = 31, json: Json = False
) -> None:
    """Newest first."""
    with opened() as context, context.database.read() as session:
        runs = list(list_runs(session, limit))
    if json:
        print_json({"runs": runs})
        return
    print_table(
        (t("对账号", "run"), t("业务日期", "date"), t("状态", "state"), t("差异", "differences")),
        (
            (r["run"], r["business_date"], label(RunState(r["state"])), _in_short(r["differences"]))
            for r in runs
        ),
    )


def _in_short(counts: dict[str, dict[str, int]]) -> str:
    return ", ".join(
        f"{TREATMENTS[DifferenceClass(k)].name} {v['differences']}" for k, v in counts.items()
    )


def show(
    run: Number,
    kind: Annotated[
        DifferenceClass | None, typer.Option("--class", help=t("只看该类", "this class only"))
    ] = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """The report is frozen; what was done about each difference stands beside it."""
    with opened() as context:
        if output is not None:
            writable_sheet(output)
            with context.database.read() as session:
                if session.get(Run, run) is None:
                    raise RunNotFound(run=run)
                _differences_table(partial(write_table, output), differences(session, run, kind))
            return
        _print_run(context, run, kind, json=json)


def _print_run(context: Context, run_id: int, kind: DifferenceClass | None, *, json: bool) -> int:
    """Show a run; gives how many differences it found."""
    with context.database.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise RunNotFound(run=run_id)
        head = run_head(run)
        if json:
            print_json_with_rows(head, differences(session, run_id, kind))
        else:
            found = list(differences(session, run_id, kind, _SHOWN))
            _print_head(context, head)
            _print_differences(found)
    total = sum(int(c["differences"]) for c in head["differences"].values())
    listed = (
        total if kind is None else head["differences"].get(kind.value, {}).get("differences", 0)
    )
    if not json and listed > _SHOWN:
        tell(
            t(
                f"共 {listed} 项，此处列出 {_SHOWN} 项；--json 给出全部",
                f"{listed} in all, {_SHOWN} shown; --json gives all",
            )
        )
    return total


def _print_head(context: Context, head: dict[str, Any]) -> None:
    console = out()
    word = label(RunState(head["state"]))
    finished = head["finished_at"]
    ended = shown_time(finished, context.settings.zone) if finished else "-"
    console.print(
        t(
            f"对账 {head['run']}  业务日期 {head['business_date']}  {word}  {ended}",
            f"reconciliation {head['run']}  {head['business_date']}  {word}  {ended}",
        ),
        markup=False,
    )
    forms = head["forms"]
    console.print(
        t(
            f"本系统 {forms['ours']} 张，海关所列 {forms['listed']} 张；变动中 {forms['moving']}，"
            f"接管前已办结 {forms['before_us']}",
            f"{forms['ours']} forms here, {forms['listed']} listed by customs; {forms['moving']} moving, "
            f"{forms['before_us']} final before us",
        ),
        markup=False,
    )
    if not head["differences"]:
        console.print(t("没有差异", "no differences"), markup=False)
        return
    print_table(
        (t("类别", "class"), "", t("项", "n"), t("张", "forms"), t("最久(天)", "oldest"),
         t("默认处理", "default action"), t("经办", "who")),
        (
            (k, TREATMENTS[DifferenceClass(k)].name, c["differences"], c["forms"], c["oldest_days"],
             TREATMENTS[DifferenceClass(k)].action, TREATMENTS[DifferenceClass(k)].actor)
            for k, c in head["differences"].items()
        ),
    )  # fmt: skip


def _print_differences(found: Sequence[dict[str, Any]]) -> None:
    if not found:
        return
    out().print()
    _differences_table(print_table, found)


def _differences_table(
    show: Callable[[Sequence[str], Iterable[Iterable[object]]], None],
    found: Iterable[dict[str, Any]],
) -> None:
    show(
        (t("类别", "class"), t("流水号", "serials"), t("本系统", "here"), t("海关", "customs"),
         t("证书号", "certificate"), t("天", "days"), t("处理", "repair")),
        (
            (TREATMENTS[DifferenceClass(d["class"])].name, _span(d), _here(d), _customs(d),
             d["certificate"] or d["customs_certificate"], d["age_days"], _done(d["repair"]))
            for d in found
        ),
    )  # fmt: skip


def _span(d: dict[str, Any]) -> str:
    if d["first_serial"] is None:
        return str(d["detail"])
    first, last = d["first_serial"], d["last_serial"]
    return str(first) if first == last else f"{first}-{last} ({d['forms']})"


def _here(d: dict[str, Any]) -> str:
    return label(FormState(d["state"])) if d["state"] else "-"


def _customs(d: dict[str, Any]) -> str:
    state = d["customs_state"]
    return "-" if state is None else str(CUSTOMS_STATE_WORDS.get(state, state))


def _done(repair: dict[str, Any] | None) -> str:
    if repair is None:
        return "-"
    return f"{label(RepairState(repair['state']))} {repair['outcome_text']}".strip()


def repair(
    run: Number,
    kinds: Classes = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=t("只显示将做什么", "only show the plan"))
    ] = False,
    approve: Annotated[
        bool,
        typer.Option("--approve", help=t("复核他人提出的处理", "agree with another's proposal")),
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help=t("原因", "why"))] = "",
    by: By = None,
    yes: YES = False,
    json: Json = False,
) -> None:
    """Shows the plan first. Contradictions need two persons: one proposes, another approves."""
    with opened() as context:
        order = Order(kept_name(by, context.actor), kept_reason(reason) if reason else "", approve)
        proposals = repairing.plan(context, run, kinds or [])
        planned = [
            {
                "class": p.kind.value,
                "differences": p.differences,
                "forms": p.forms,
                "proposed": p.waiting,
                "action": TREATMENTS[p.kind].action.en,
                "two_persons": TREATMENTS[p.kind].two_persons,
            }
            for p in proposals
        ]
        if not json:
            _print_plan(proposals)
        go = bool(proposals) and not dry_run
        if go:
            go = agreed(t("照此处理？", "carry this out?"), yes=yes)
        done = repairing.repair(context, run, kinds or [], order) if go else {}
    counted = {k.value: {s.value: n for s, n in states.items()} for k, states in done.items()}
    if json:
        print_json({"run": run, "plan": planned, "done": counted})
    else:
        _tell_repaired(done)
    if any(
        RepairState.LEFT in states or RepairState.PROPOSED in states for states in done.values()
    ):
        raise typer.Exit(Exit.PROBLEMS)


def _print_plan(proposals: Sequence[repairing.Proposal]) -> None:
    if not proposals:
        tell(t("没有待处理的差异", "nothing is left to repair"))
        return
    print_table(
        (t("类别", "class"), t("项", "n"), t("张", "forms"), t("将要做", "what will be done")),
        (
            (TREATMENTS[p.kind].name, p.differences, p.forms, TREATMENTS[p.kind].action)
            for p in proposals
        ),
    )


def _tell_repaired(done: dict[DifferenceClass, dict[RepairState, int]]) -> None:
    for kind, states in done.items():
        shown = ", ".join(f"{label(s)} {n}" for s, n in states.items()) or t(
            "没有待复核的", "nothing was proposed"
        )
        tell(f"{TREATMENTS[kind].name}: {shown}")


def verify(
    every_anchor: Annotated[
        bool, typer.Option("--all-anchors", help=t("与每一份锚文件比对", "against every anchor"))
    ] = False,
    json: Json = False,
) -> None:
    """Finds an edited, removed, inserted or reordered event, a history that was cut or rewritten."""
    counted = audit.Verified()
    with opened() as context:
        findings = list(audit.verify(context, counted, every_anchor=every_anchor))
    if json:
        print_json(
            {
                "forms": counted.forms,
                "events": counted.events,
                "anchors": counted.anchors,
                "findings": [
                    {
                        "tamper": f.tamper.value,
                        "serial": f.serial,
                        "type": f.form_type,
                        "number": f.number,
                        "event": f.event_id,
                        "detail": f.detail,
                    }
                    for f in findings
                ],
            }
        )
    else:
        _print_findings(findings)
        tell(
            t(
                f"已校验 {counted.forms} 张证单的 {counted.events} 条经历、{counted.anchors} 份锚文件: "
                f"{len(findings)} 处不符",
                f"{counted.events} events of {counted.forms} forms and {counted.anchors} anchors "
                f"verified: {len(findings)} flaws",
            )
        )
    if findings:
        raise typer.Exit(Exit.PROBLEMS)


def _print_findings(findings: Sequence[audit.Finding]) -> None:
    if findings:
        print_table(
            (t("流水号", "serial"), t("类型", "type"), t("第几条", "event"), t("情况", "flaw"), ""),
            ((f.serial, f.form_type, f.number, TAMPER_WORDS[f.tamper], f.detail) for f in findings),
        )
