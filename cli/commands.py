"""All commands, gathered. Imported after the language is chosen: help texts are in it."""

from __future__ import annotations

import typer

from cli import (
    batches,
    discrepancies,
    imports,
    journal,
    layouts,
    lists,
    night,
    notify,
    orders,
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

_ORDERS = (stock, imports, orders, layouts, batches, lists)
_UPKEEP = (night, discrepancies, journal, notify, system)
for module in (*_ORDERS, *_UPKEEP):
    module.register(app)
