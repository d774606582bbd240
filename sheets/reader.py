"""Reading an untrusted sheet: starts the sandbox (`sheets.child`) and gives its rows as they come."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final, Generic, TypeVar

from models.rules.errors import (
    FileEncrypted,
    FileError,
    FileTooLarge,
    FileUnreadable,
    NoHeaderRow,
    SheetNotFound,
)
from sheets.drafts import RowDraft, unpacked
from sheets.headers import ORDERS, SheetKind
from sheets.questions import NO_ANSWERS, Answers, Question, load_question
from sheets.reading import Asked

PIPE_BYTES: Final = 1 << 20
"""Room for the sandbox to read on while rows are written: the two work at the same time."""

WALL_SECONDS: Final = 600
"""A sheet that takes longer is ended, whatever it does; a full one takes about 40 seconds."""


Row = TypeVar("Row")


@dataclass(slots=True)
class SheetReading(Generic[Row]):
    """A file being read. `rows` may be run through once; what follows them is right after that."""

    sheet: str
    header_row: int
    header: list[str]
    columns: dict[str, int]
    rows: Iterator[Row]
    blank_count: int = 0
    questions: list[Question] = field(default_factory=list)
    """What a person must answer before anything of it is done."""
    described: dict[str, Any] = field(default_factory=dict)
    """How it was read: columns with their meaning, other sheets, hidden rows, what was assumed."""


PlainRow = tuple[int, list[Any], str]
"""Number as in the sheet, cells, and the sheet's name where it is not the first."""


def read_sheet(
    content: bytes,
    file_name: str,
    kind: SheetKind,
    size_limit: int,
    answers: Answers = NO_ANSWERS,
) -> SheetReading[PlainRow]:
    """Begin to read. Raises `FileError` (a subclass for each cause) here or while rows come.

    `size_limit` is in bytes. Blank rows, totals and notes are left out and counted. Memory here: one
    list of rows.
    """
    return _begin(content, file_name, size_limit, kind, Asked(answers=answers), tuple)


def read_orders(
    content: bytes, file_name: str, asked: Asked, size_limit: int
) -> SheetReading[RowDraft]:
    """The same for an order sheet, whose rows are read to the end in the sandbox."""
    return _begin(content, file_name, size_limit, ORDERS, asked, unpacked)


def _begin(
    content: bytes,
    file_name: str,
    size_limit: int,
    kind: SheetKind,
    asked: Asked,
    unpack: Callable[[list[Any]], Row],
) -> SheetReading[Row]:
    if len(content) > size_limit:
        detail = f"{len(content) >> 20} MB > {size_limit >> 20} MB"
        raise FileTooLarge(file=file_name, detail=detail)
    lines = _child_lines(content, file_name, kind, asked)
    first = next(lines)
    reading: SheetReading[Row] = SheetReading(
        first["sheet"], first["header_row"], first["header"], first["columns"], iter(())
    )
    reading.rows = _rows(lines, reading, unpack)
    return reading


def _rows(
    lines: Iterator[Any], reading: SheetReading[Row], unpack: Callable[[list[Any]], Row]
) -> Iterator[Row]:
    for line in lines:
        if isinstance(line, dict):
            reading.blank_count = line["blank"]
            reading.described = line["reading"]
            reading.questions = [load_question(q) for q in line["questions"]]
            return
        yield from map(unpack, line)


def _child_lines(content: bytes, file_name: str, kind: SheetKind, asked: Asked) -> Iterator[Any]:
    child = subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-I", "-m", "sheets.child", kind.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=PIPE_BYTES,
        env={},  # no secret of ours is near a stranger's file
    )
    if child.stdin is None or child.stdout is None:
        raise FileUnreadable(file=file_name, detail="no pipe")
    told = json.dumps(asked.stored()).encode() + b"\n"
    feeder = threading.Thread(target=_feed, args=(child.stdin, told, content), daemon=True)
    limit = threading.Timer(WALL_SECONDS, child.kill)
    feeder.start()
    limit.start()
    try:
        ended = False
        for text in child.stdout:
            if not text.endswith(b"\n"):
                break  # killed in the middle of a line
            line = json.loads(text)
            if isinstance(line, dict) and "error" in line:
                raise _file_error(file_name, line["error"], line["detail"])
            ended = isinstance(line, dict) and "end" in line
            yield line
        if not ended:
            killed = child.wait() < 0  # by its own limits, or by an abort inside the library
            detail = "memory" if killed else f"reader: exit code {child.returncode}"
            error = FileTooLarge if killed else FileUnreadable
            raise error(file=file_name, detail=detail)
    finally:
        limit.cancel()
        child.kill()
        child.wait()
        child.stdout.close()
        feeder.join()


def _feed(pipe: IO[bytes], told: bytes, content: bytes) -> None:
    try:
        with pipe:
            pipe.write(told)
            pipe.write(content)
    except BrokenPipeError:
        pass  # the child has ended; its last line says why


def _file_error(file_name: str, code: str, detail: str) -> FileError:
    match code:
        case "file_encrypted":
            return FileEncrypted(file=file_name)
        case "file_too_large":
            return FileTooLarge(file=file_name, detail=detail)
        case "no_header_row":
            return NoHeaderRow(file=file_name, wanted=detail)
        case "sheet_not_found":
            return SheetNotFound(file=file_name, sheets=detail)
        case _:
            return FileUnreadable(file=file_name, detail=detail)
