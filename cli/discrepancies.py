"""discrepancies (list, close): what a person must look at, and that somebody has."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import LARGEST_NUMBER, Json
from cli.persons import By
from cli.runtime import opened, print_json, print_table, shown_time, tell
from models.reads.discrepancies import open_discrepancies
from models.rules.causes import kind_text
from models.rules.language import t
from models.rules.people import kept_name, kept_reason
from tasks.receipts import discrepancies


def register(app: typer.Typer) -> None:
    """Add the group `discrepancies`."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(list_)
    group.command("close", help=t("结清", "somebody has looked"))(close)
    app.add_typer(group, name="discrepancies")


def list_(context: typer.Context, json: Json = False) -> None:
    """Open ones, oldest first."""
    if context.invoked_subcommand is not None:
        return
    with opened() as opened_context, opened_context.database.read() as session:
        found = list(open_discrepancies(session))
        zone = opened_context.settings.zone
    if json:
        print_json({"discrepancies": found})
        return
    print_table(
        (t("号", "no."), t("类别", "kind"), t("流水号", "serial"), t("情况", "detail"), t("起", "since")),
        (
            (d["number"], kind_text(d["kind"]), d["serial"], d["detail"], shown_time(d["raised_at"], zone))
            for d in found
        ),
    )  # fmt: skip


def close(
    numbers: Annotated[
        list[int], typer.Argument(min=1, max=LARGEST_NUMBER, help=t("号", "numbers"))
    ],
    reason: Annotated[str, typer.Option("--reason", help=t("原因", "why"))],
    by: By = None,
    json: Json = False,
) -> None:
    """With who and why; a form that is held stays held (`stock release`)."""
    with opened() as context:
        closed = discrepancies.close(
            context, numbers, kept_name(by, context.actor), kept_reason(reason)
        )
    if json:
        print_json({"closed": closed})
        return
    tell(t(f"已结清 {len(closed)} 项", f"{len(closed)} closed"))
