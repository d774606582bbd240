"""Who gives an order: the owner of the key in BLANKFORMS_KEY_FILE, else the account of the operating system."""

from __future__ import annotations

import getpass
from typing import Annotated, Final

import typer

from models.rules.errors import BadArgument, KeyRefused
from models.rules.language import t
from models.rules.people import Actor, Channel
from tasks.context import Context
from tasks.people import keys

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


def by_whom(given: str | None, actor: Actor) -> str:
    """The name that is kept: of a proved person their own; else what is said, by default the account's."""
    if actor.proved:
        return actor.name
    name = said(given or actor.name, "--by")
    if len(name) > NAME_LIMIT:
        raise BadArgument(detail=t("--by: 姓名 1-64 字", "--by: 1-64 characters"))
    return name


def actor_of_command(context: Context) -> Actor:
    """Who runs this command: proved by a key, or the account, recorded and not proved.

    Raises `KeyRefused` for a key that cannot be read or is not accepted: nobody is named instead.
    """
    file = context.settings.blankforms_key_file
    if file is None:
        return Actor(said(getpass.getuser(), "--by")[:NAME_LIMIT], Channel.COMMAND)
    try:
        key = file.read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise KeyRefused from error
    return keys.owner_of(context, key, Channel.COMMAND)
