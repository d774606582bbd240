"""quarantine (list, show, apply, dismiss): what customs told us and nothing of ours fits."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import LARGEST_NUMBER, Json
from cli.persons import By
from cli.runtime import opened, out, print_json, print_table, printable, shown_time, tell
from models.rules.language import t
from models.rules.people import kept_name, kept_reason
from tasks.receipts import quarantine

Numbers = Annotated[list[int], typer.Argument(min=1, max=LARGEST_NUMBER, help=t("号", "numbers"))]


def register(app: typer.Typer) -> None:
    """Add the group `quarantine`."""
    group = typer.Typer(
        invoke_without_command=True,
    )
    group.callback()(list_)
    group.command("show", help=t("一份原文", "one, as it came"))(show)
    group.command("apply", help=t("重新处理", "apply again"))(apply)
    group.command("dismiss", help=t("已看过，不再提示", "somebody has looked"))(dismiss)
    app.add_typer(group, name="quarantine")


def list_(context: typer.Context, json: Json = False) -> None:
    """All of them, oldest first, unreadable ones included."""
    if context.invoked_subcommand is not None:
        return
    with opened() as opened_context:
        found = [q.shown() for q in quarantine.quarantined(opened_context)]
        zone = opened_context.settings.zone
    if json:
        print_json({"quarantined": found})
        return
    print_table(
        (t("号", "no."), t("回执号", "receipt"), t("来源", "by"), t("收到", "received"), t("原因", "reason")),
        (
            (q["number"], q["receipt_id"], q["source"], shown_time(q["received_at"], zone), q["reason"])
            for q in found
        ),
    )  # fmt: skip


def show(
    number: Annotated[int, typer.Argument(min=1, max=LARGEST_NUMBER, help=t("号", "number"))],
    json: Json = False,
) -> None:
    """Reason and contents."""
    with opened() as context:
        found = quarantine.one_of_them(context, number).shown(whole=True)
        zone = context.settings.zone
    if json:
        print_json(found)
        return
    tell(
        f"{number}  {shown_time(found['received_at'], zone)}  {found['source']}  {found['reason']}"
    )
    out().print(printable(found["body"]), markup=False, soft_wrap=True)


def apply(numbers: Numbers, json: Json = False) -> None:
    """As if they had just come; what still fits nothing stays, with its reason of today."""
    with opened() as context:
        applied = quarantine.apply_again(context, numbers)
    left = sorted(set(numbers) - set(applied))
    if json:
        print_json({"applied": applied, "quarantined": left})
        return
    tell(t(f"已处理 {len(applied)} 份，仍待认领 {len(left)} 份",
           f"{len(applied)} applied, {len(left)} still fit nothing"))  # fmt: skip


def dismiss(
    numbers: Numbers,
    reason: Annotated[str, typer.Option("--reason", help=t("原因", "why"))],
    by: By = None,
    json: Json = False,
) -> None:
    """Kept for the auditor, with who and why; no form is changed."""
    with opened() as context:
        dismissed = quarantine.dismiss(
            context, numbers, kept_name(by, context.actor), kept_reason(reason)
        )
    if json:
        print_json({"dismissed": dismissed})
        return
    tell(t(f"已搁置 {len(dismissed)} 份", f"{len(dismissed)} dismissed"))
