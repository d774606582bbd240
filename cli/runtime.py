"""What every command shares: settings, context, the console, JSON, errors as exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from xlsxwriter.exceptions import XlsxFileError

from cli.persons import actor_of_command
from config.exits import Exit
from config.log import set_up_logging
from config.settings import Settings, load_settings
from models.rules.errors import BadArgument, NeedsYes
from models.rules.language import t
from sheets.result import write_list
from tasks.app import configure
from tasks.context import Context
from tasks.home import prepare_home
from workers.bootstrap import build_context


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this command, read once."""
    return load_settings()


def out() -> Console:
    """Results go to stdout. NO_COLOR and pipes are respected by rich."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Everything else goes to stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


@contextmanager
def opened(*, identified: bool = True) -> Iterator[Context]:
    """The context of a command; logs only warnings unless LOG_LEVEL says otherwise.

    `identified` False: for what says or changes whose database it is.
    """
    chosen = settings()
    _beware_of_a_new_home(chosen)
    if "log_level" not in chosen.model_fields_set:
        chosen = chosen.model_copy(update={"log_level": "WARNING"})
    set_up_logging(chosen)
    umask = os.umask(0o077)
    prepare_home(chosen)
    os.umask(umask)  # what a person writes with -o is as they have it
    configure(chosen)
    context = build_context(chosen, identified=identified)
    try:
        context.actor = actor_of_command(context)
        yield context
    finally:
        context.close()


def _beware_of_a_new_home(chosen: Settings) -> None:
    """A command in another folder would look at an empty system: ask, or at least say so."""
    if chosen.database_url is not None or chosen.database_file.exists():
        return
    place = chosen.blankforms_home
    tell(t(f"数据目录 {place} 里还没有系统", f"there is no system in the folder {place} yet"))
    question = t("在这里新建一个空的系统？", "make a new, empty one there?")
    if interactive() and not typer.confirm(question, err=True):
        raise typer.Exit(Exit.DONE)


def print_json(value: Any) -> None:
    """The one document of a `--json` command."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_json_with_rows(document: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """The same, with a last member `rows` that is written as it comes: memory stays flat."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    sys.stdout.write(text.removesuffix("\n}") + (",\n" if document else "{\n") + '  "rows": [')
    separator = "\n    "
    for row in rows:
        sys.stdout.write(separator + json.dumps(row, ensure_ascii=False))
        separator = ",\n    "
    sys.stdout.write("\n  ]\n}\n")


def printable(text: str) -> str:
    """Text that only shows: what a sheet or customs sent must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A plain table on stdout. Numbers and codes are never broken in two; sentences are."""
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, title in enumerate(titles):
        whole = all(_is_code(row[index]) for row in cells)
        table.add_column(title, overflow="fold", no_wrap=whole)
    for row in cells:
        table.add_row(*map(Text, row))
    out().print(table)


_CODE_LENGTH = 34
"""Characters of the longest thing that is not broken: a code of a problem, a range of serials."""


def _is_code(text: str) -> bool:
    return len(text) <= _CODE_LENGTH and text.isascii() and " " not in text


def writable_sheet(path: Path) -> None:
    """Raise `BadArgument` for a file that is no sheet by its name, or that is there already and nobody
    wants overwritten: on a terminal that is asked, elsewhere the file is replaced.
    """
    if path.suffix.lower() not in {".xlsx", ".csv"}:
        raise BadArgument(
            detail=t(
                f"{path}: 只能写出 .xlsx 或 .csv", f"{path}: only .xlsx or .csv can be written"
            )
        )
    if path.exists() and interactive():
        question = t(f"{path} 已存在，覆盖？", f"{path} exists; overwrite it?")
        if not typer.confirm(question, err=True):
            raise typer.Exit(Exit.DONE)


def tell(text: str) -> None:
    """A message for the person, on stderr."""
    err().print(printable(text), markup=False)


def interactive() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


YES = Annotated[
    bool, typer.Option("--yes", "-y", help=t("确定执行，不再询问", "do it, do not ask"))
]


def agreed(question: str, *, yes: bool) -> bool:
    """Whether a person wants what cannot be undone. Raises `NeedsYes` where nobody can be asked."""
    if yes:
        return True
    if not interactive():
        raise NeedsYes(flags="--yes")
    return typer.confirm(question, err=True)


def write_table(path: Path, titles: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """A list as a sheet of text cells; the caller has looked at the name (`writable_sheet`)."""
    try:
        count = write_list(path, titles, (["" if c is None else str(c) for c in r] for r in rows))
    except (OSError, XlsxFileError) as error:
        raise BadArgument(detail=f"{path}: {error}") from error
    tell(t(f"已写出 {count} 行: {path}", f"{count} rows written: {path}"))


def shown_time(moment: str, zone: ZoneInfo) -> str:
    """A time as people see it: in the zone of the settings, to the second."""
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
