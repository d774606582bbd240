"""The language of a command's texts, read alone: what says only its help needs no other setting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

NAME: Final = "BLANKFORMS_LANG"


def chosen_language() -> str:
    """As chosen in the environment, or in the `.env` file of the working directory; "" when it is not.

    `config.settings` judges it with all others.
    """
    chosen = os.environ.get(NAME, "")
    if not chosen and Path(".env").exists():
        from dotenv import dotenv_values  # a file is rare, and its reader is not quick to load

        chosen = dotenv_values(".env").get(NAME) or ""
    return chosen
