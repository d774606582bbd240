"""layouts list, forget: what persons said that the columns of a sheet mean."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import Json
from cli.runtime import opened, print_json, print_table, shown_time, tell
from models.rules.language import t
from tasks.orders import layouts as known_layouts


def register(app: typer.Typer) -> None:
    """Add the group `layouts`."""
    group = typer.Typer(no_args_is_help=True)
    group.command("list", help=t("列出", "list"))(list_)
    group.command("forget", help=t("忘记一种表格，或 all", "forget a layout, or all"))(forget)
    app.add_typer(group, name="layouts")


def list_(json: Json = False) -> None:
    """Newest first."""
    with opened() as context:
        layouts = known_layouts.list_layouts(context)
        zone = context.settings.zone
    if json:
        print_json({"layouts": layouts})
        return
    print_table(
        (t("编号", "key"), t("列含义", "columns"), t("表头", "header"), t("最近", "last used")),
        (
            (
                layout["key"],
                ", ".join(f"{h}={m or '-'}" for h, m in layout["columns"].items()),
                " | ".join(layout["header"]),
                shown_time(layout["used_at"], zone),
            )
            for layout in layouts
        ),
    )


def forget(
    key: Annotated[str, typer.Argument(help=t("编号或 all", "its key, or all"))], json: Json = False
) -> None:
    """The next sheet with that header row is asked about again."""
    with opened() as context:
        known_layouts.forget_layout(context, key)
    if json:
        print_json({"forgotten": key})
        return
    tell(t("已忘记", "forgotten"))
