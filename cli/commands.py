"""All commands, gathered. Imported after the language is chosen: help texts are in it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from cli import (
    batches,
    customs,
    discrepancies,
    imports,
    journal,
    layouts,
    lists,
    night,
    notify,
    orders,
    quarantine,
    stock,
    system,
)
from models.language import t

app = typer.Typer(
    help=t(
        "空白证单批量核销与作废。加 --lang en 显示英文。",
        "Verify and void blank certificate-of-origin forms in bulk. --lang zh for Chinese.",
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blankforms {version('blankforms')}")
        raise typer.Exit


@app.callback()
def blankforms(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help=t("版本号", "the version")
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


_ORDERS = (stock, imports, orders, layouts, batches, lists)
_UPKEEP = (night, discrepancies, quarantine, journal, notify, customs, system)
for module in (*_ORDERS, *_UPKEEP):
    module.register(app)
