"""endorse, reject, endorsements, rules: the second person, and when one is asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Annotated, Any

import typer

from cli.options import LARGEST_NUMBER, Json
from cli.plans import show_plan
from cli.runtime import YES, agreed, opened, out, print_json, print_table, shown_time, tell
from models.reads.endorsements import known_rules, list_endorsements
from models.rules.errors import BadArgument, EndorsementDecided, NotFound
from models.rules.language import t
from models.rules.people import kept_reason
from models.rules.two_persons import (
    CHANGE_WORDS,
    ENDORSEMENT_WORDS,
    RULE_WORDS,
    ChangeKind,
    EndorsementState,
    Rule,
    Rules,
    rules_from,
)
from tasks.context import Context
from tasks.people import endorsing
from tasks.people import rules as rulebook

Number = Annotated[
    int,
    typer.Argument(min=1, max=LARGEST_NUMBER, help=t("复核号", "number of the request")),
]


def register(app: typer.Typer) -> None:
    """Add the commands `endorse`, `reject`, `endorsements` and the group `rules`."""
    app.command("endorse", help=t("复核通过", "say yes as the second person"))(endorse)
    app.command("reject", help=t("驳回", "say no as the second person"))(reject)
    app.command("endorsements", help=t("待复核", "what waits for a second person"))(endorsements)
    rules = typer.Typer(no_args_is_help=True)
    rules.command("show", help=t("何时须复核", "when a second person is asked for"))(rules_show)
    rules.command("set", help=t("更改", "change them"))(rules_set)
    app.add_typer(rules, name="rules")


def endorse(number: Number, yes: YES = False, json: Json = False) -> None:
    """Shows the plan first; exactly that plan is carried out."""
    with opened() as context:
        with context.database.read() as session:
            found = list(list_endorsements(session, number=number))
            _, rules = known_rules(session)
        if not found:
            raise NotFound(what=str(number))
        if found[0]["state"] != EndorsementState.WAITING:
            state = ENDORSEMENT_WORDS[EndorsementState(found[0]["state"])]
            raise EndorsementDecided(state=str(state))
        if not json:
            _print_request(context, found[0], rules)
        if not agreed(t("复核通过？", "endorse it?"), yes=yes):
            return
        endorsing.endorse(context, number)
    if json:
        print_json({"endorsement": number, "state": EndorsementState.ENDORSED.value})
        return
    tell(t(f"已复核: {number}", f"endorsed: {number}"))


def _print_request(context: Context, request: dict[str, Any], rules: Rules) -> None:
    """All that the second person says yes to."""
    why = "; ".join(str(RULE_WORDS[Rule(rule)]) for rule in request["rules"])
    asked_by = request["asked_by"]
    tell(t(f"制单人 {asked_by}；须复核: {why}", f"asked by {asked_by}; because of: {why}"))
    if request["proposal"] is not None and _kind(request["proposal"]) is not ChangeKind.RULES:
        tell(_change_words(request["proposal"]))
        for name, value in request["proposal"].items():
            if name not in {"kind", "about", "forms"}:
                tell(f"  {name}: {value}")
        return
    if request["proposal"] is not None:
        tell(t("现行规则:", "the rules that hold:"))
        _print(rules)
        tell(t("改为:", "are to become:"))
        _print(rules_from(request["proposal"]["rules"]))
        return
    show_plan(context, request["batch"], None, json=False)
    for reason in request["reasons"]:
        tell(t(f"制单人说明: {reason}", f"the maker says: {reason}"))
    if request["at_once"]:
        tell(t("不留撤回期，复核后立即提交", "no time to take it back: it leaves at once"))


def _kind(change: dict[str, Any]) -> ChangeKind:
    return ChangeKind(change.get("kind", ChangeKind.RULES))


def _change_words(change: dict[str, Any]) -> str:
    return CHANGE_WORDS[_kind(change)].fill(about=change.get("about", ""))


def reject(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help=t("原因", "why"))],
    json: Json = False,
) -> None:
    """The maker may correct and confirm it anew, or take it back."""
    with opened() as context:
        endorsing.reject(context, number, kept_reason(reason))
    if json:
        print_json({"endorsement": number, "state": EndorsementState.REJECTED.value})
        return
    tell(t(f"已驳回: {number}", f"rejected: {number}"))


def endorsements(
    all_: Annotated[
        bool, typer.Option("--all", help=t("已有结果的也列", "decided ones too"))
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_NUMBER - 1)] = 200,
    after: Annotated[
        int | None,
        typer.Option(
            min=1, max=LARGEST_NUMBER, help=t("从上次停下的地方接着列", "go on from there")
        ),
    ] = None,
    json: Json = False,
) -> None:
    """What waits, oldest first; with --all the newest first."""
    with opened() as context, context.database.read() as session:
        some = list_endorsements(session, waiting=not all_, limit=limit + 1, after=after)
        found = list(islice(some, limit))
        following = found[-1]["id"] if next(some, None) else None
        zone = context.settings.zone
    if json:
        print_json({"endorsements": found, "next": following})
        return
    print_table(
        (t("复核号", "no."), t("状态", "state"), t("批次", "batch"), t("因何", "why"),
         t("制单人", "made by"), t("时间", "asked at"), t("到期", "until"), t("复核人", "decided by"),
         t("说明", "reason")),
        (
            (e["id"], str(ENDORSEMENT_WORDS[EndorsementState(e["state"])]),
             e["batch"] or _change_words(e["proposal"]),
             "; ".join(str(RULE_WORDS[Rule(r)]) for r in e["rules"]), e["asked_by"],
             shown_time(e["asked_at"], zone), shown_time(e["expires_at"], zone),
             e["decided_by"] or "-", e["reason"] or "-")
            for e in found
        ),
    )  # fmt: skip
    if following:
        tell(t(f"还有，接着列: --after {following}", f"there are more: --after {following}"))


def rules_show(json: Json = False) -> None:
    """The rules that hold."""
    with opened() as context, context.database.read() as session:
        version, rules = known_rules(session)
    if json:
        print_json({"version": version, "rules": rules.shown()})
        return
    _print(rules)


Count = Annotated[int | None, typer.Option(min=0, max=1_000_000)]
Switch = Annotated[bool | None, typer.Option()]


def rules_set(
    on: Switch = None,
    voids_per_batch: Count = None,
    voids_per_day: Count = None,
    reasons: Annotated[
        str | None, typer.Option(help=t("作废原因代码，以逗号分隔", "codes separated by commas"))
    ] = None,
    again: Switch = None,
    beyond_pages: Switch = None,
    people: Switch = None,
    lost: Switch = None,
    contradictions: Switch = None,
    hours: Annotated[int | None, typer.Option(min=1, max=720)] = None,
    json: Json = False,
) -> None:
    """Once they are on, another person endorses a change before it holds."""
    given: dict[str, Any] = {
        "on": on,
        "voids_per_batch": voids_per_batch,
        "voids_per_day": voids_per_day,
        "reasons": tuple(r.strip() for r in reasons.split(",")) if reasons is not None else None,
        "again": again,
        "beyond_pages": beyond_pages,
        "people": people,
        "lost": lost,
        "contradictions": contradictions,
        "hours": hours,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    if not changed:
        raise BadArgument(detail=t("请给出要改的规则", "say what is to be changed"))
    with opened() as context:
        with context.database.read() as session:
            _, rules = known_rules(session)
        request = rulebook.set_rules(context, replace(rules, **changed))
        with context.database.read() as session:
            _, rules = known_rules(session)
    if json:
        print_json({"rules": rules.shown(), "endorsement": request})
        return
    if request is not None:
        tell(t(f"已送复核: {request}", f"waits for a second person: {request}"))
    _print(rules)


def _print(rules: Rules) -> None:
    def switch(value: bool) -> str:
        return t("是", "yes") if value else t("否", "no")

    state = t("已开启", "on") if rules.on else t("未开启", "off")
    out().print(t(f"复核: {state}", f"a second person: {state}"))
    for name, value in (
        (Rule.VOIDS_PER_BATCH, f"> {rules.voids_per_batch}"),
        (Rule.VOIDS_PER_DAY, f"> {rules.voids_per_day}"),
        (Rule.REASONS, ", ".join(rules.reasons) or "-"),
        (Rule.AGAIN, switch(rules.again)),
        (Rule.BEYOND_PAGES, switch(rules.beyond_pages)),
        (Rule.PEOPLE, switch(rules.people)),
        (Rule.LOST, switch(rules.lost)),
        (Rule.CONTRADICTIONS, switch(rules.contradictions)),
    ):
        out().print(f"  {RULE_WORDS[name]}: {value}", markup=False)
    out().print(t(f"  等候 {rules.hours} 小时", f"  a request waits {rules.hours} hours"))
