"""Options that many commands share, and what is made of what they are given."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from models.rules.language import t
from models.rules.numbers import clean

LARGEST_NUMBER: Final = 2**63 - 1
"""The largest number that a row can have."""

JSON_HELP: Final = t("标准输出只给一个 JSON 文档", "print one JSON document on stdout")
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


def code(text: str | None) -> str | None:
    """A code from an option, as it is kept."""
    return clean(text).upper() if text else None
