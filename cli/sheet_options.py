"""Options by which a person answers the questions about a sheet; the same for orders and imports."""

from __future__ import annotations

from typing import Annotated

import typer

from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.states import Action
from sheets.headers import ANSWERABLE, header_key
from sheets.questions import Answers

SheetName = Annotated[
    str | None, typer.Option("--sheet", help=t("办理哪个工作表", "which sheet is meant"))
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="HEADER=MEANING",
        help=t("某列的含义，如 印刷流水号=serial，可多次", "what a column means; may be repeated"),
    ),
]
IgnoreColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore-column", metavar="HEADER", help=t("该列不用，可多次", "a column that is not used")
    ),
]
Action_ = Annotated[
    Action | None,
    typer.Option("--action", help=t("没写操作的行是核销还是作废", "of rows that do not say it")),
]
Hidden = Annotated[
    bool | None,
    typer.Option(
        "--include-hidden/--skip-hidden",
        help=t("隐藏或筛选掉的行办不办", "hidden rows too, or not"),
    ),
]
Struck = Annotated[
    bool | None,
    typer.Option(
        "--include-struck/--skip-struck",
        help=t("加删除线的行办不办", "struck-out rows too, or not"),
    ),
]


def answers_from(
    sheet: str | None,
    column: list[str] | None,
    ignore_column: list[str] | None,
    action: Action | None,
    hidden: bool | None,
    struck: bool | None,
) -> Answers:
    """What the options say. Raises `BadArgument` for a meaning that does not exist."""
    columns = {header_key(header): "" for header in ignore_column or ()}
    for text in column or ():
        header, mark, meaning = text.rpartition("=")
        if not mark or meaning.strip() not in ANSWERABLE:
            raise BadArgument(
                detail=t(
                    f"--column 应写成 列名=含义，含义为 {' '.join(ANSWERABLE)} 之一: {text}",
                    f"--column is HEADER=MEANING, one of {' '.join(ANSWERABLE)}: {text}",
                )
            )
        columns[header_key(header)] = meaning.strip()
    return Answers(sheet, columns, action, hidden, struck)
