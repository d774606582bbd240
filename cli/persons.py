"""Who gives an order: said with `--by`, else the account of the operating system."""

from __future__ import annotations

import getpass
from typing import Annotated, Final

import typer

from models.errors import BadArgument
from models.language import t

NAME_LIMIT: Final = 64

By = Annotated[
    str | None,
    typer.Option("--by", help=t("经办人；默认为系统账号", "who; by default the system's account")),
]


def by_whom(said: str | None) -> str:
    """The name that is kept in the history. It is recorded, not proved: guard the accounts."""
    name = (said or getpass.getuser()).strip()
    if not name or len(name) > NAME_LIMIT:
        raise BadArgument(detail=t("--by: 姓名 1-64 字", "--by: 1-64 characters"))
    return name
