"""Who gives an order: the owner of the key in BLANKFORMS_KEY_FILE, else the account of the operating system."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from models.rules.errors import KeyRefused
from models.rules.language import t
from models.rules.people import Actor, Channel, account_name
from tasks.context import Context
from tasks.people import keys

By = Annotated[
    str | None,
    typer.Option("--by", help=t("经办人；默认为系统账号", "who; by default the system's account")),
]


def actor_of_command(context: Context) -> Actor:
    """Who runs this command: proved by a key, or the account, recorded and not proved.

    Raises `KeyRefused` for a key that cannot be read or is not accepted: nobody is named instead.
    """
    file = context.settings.blankforms_key_file
    if file is None:
        return Actor(account_name(getpass.getuser()), Channel.COMMAND)
    try:
        key = file.read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise KeyRefused from error
    return keys.owner_of(context, key, Channel.COMMAND)
