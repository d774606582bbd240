"""Who gives an order: said with `--by`, else the account of the operating system."""

from __future__ import annotations

import getpass
from typing import Annotated, Final

import typer

from models.rules.errors import BadArgument
from models.rules.language import t

NAME_LIMIT: Final = 64

By = Annotated[
    str | None,
    typer.Option("--by", help=t("经办人；默认为系统账号", "who; by default the system's account")),
]


REASON_LIMIT: Final = 200


def said(text: str, option: str = "--reason") -> str:
    """A reason as it is kept: something, in characters that can be kept. Raises `BadArgument`."""
    cleaned = text.strip()
    try:
        cleaned.encode()
    except UnicodeEncodeError:
        cleaned = ""
    if not cleaned or len(cleaned) > REASON_LIMIT:
        raise BadArgument(
            detail=t(
                f"{option}: 请填写 1-{REASON_LIMIT} 字", f"{option}: 1-{REASON_LIMIT} characters"
            )
        )
    return cleaned


def by_whom(given: str | None) -> str:
    """The name that is kept in the history. It is recorded, not proved: guard the accounts."""
    name = said(given or getpass.getuser(), "--by")
    if len(name) > NAME_LIMIT:
        raise BadArgument(detail=t("--by: 姓名 1-64 字", "--by: 1-64 characters"))
    return name
