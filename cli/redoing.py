"""batch redo: what a batch did not come to, ordered once more."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.batches import Number
from cli.options import Json
from cli.orders import Again, DryRun, Now, Wait, Yes, confirm_and_follow
from cli.plans import show_plan
from cli.runtime import opened, tell
from models.rules.errors import ReasonNeeded
from models.rules.language import t
from models.rules.states import Action, label
from tasks.orders import confirming, planning, redoing

As = Annotated[
    Action | None,
    typer.Option(
        "--as",
        help=t(
            "改为核销或作废(已领用的)", "verify or void them instead, those that are issued again"
        ),
    ),
]
Reason = Annotated[
    str,
    typer.Option("--reason", help=t("改为作废的原因，如 01", "of a void, such as 01")),
]


def redo(
    batch: Number,
    as_: As = None,
    reason: Reason = "",
    again: Again = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    now: Now = False,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """The rows that were refused or taken back, as a new batch; the plan is shown first."""
    if as_ is Action.VOID and not reason:
        raise ReasonNeeded
    with opened() as context:
        made = redoing.redo(context, batch, action=as_, reason=reason)
        for one in made.impossible:
            text = f"{one.serial} {label(one.state)}"
            tell(t(f"不能重做: {text}", f"cannot be redone: {text}"))
        planning.check(context, made.batch_id)
        shown = show_plan(
            context, made.batch_id, None, json=json if dry_run else (None if json else False)
        )
        said_so = confirming.Confirmation(again=again, at_once=now)
        confirm_and_follow(
            context,
            made.batch_id,
            said_so,
            shown,
            yes=yes,
            wait=wait,
            json=json,
            dry_run=dry_run,
        )
