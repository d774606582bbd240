"""Reading an untrusted sheet: starts the sandbox (`sheets.child`) and gives its rows as they come."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final, Generic, TypeVar

from models.errors import FileEncrypted, FileError, FileTooLarge, FileUnreadable, NoHeaderRow
from models.states import PagesMode
from sheets.headers import ORDERS, SheetKind
from sheets.orders import RowDraft, unpacked

PIPE_BYTES: Final = 1 << 20
"""Room for the sandbox to read on while rows are written: the two work at the same time."""

WALL_SECONDS: Final = 600
"""A sheet that takes longer is ended, whatever it does; a full one takes about 40 seconds."""


Row = TypeVar("Row")


@dataclass(slots=True)
class SheetReading(Generic[Row]):
    """A sheet being read. `rows` may be run through once; `blank_count` is right after that."""

    sheet: str
    header_row: int
    header: list[str]
    columns: dict[str, int]
    rows: Iterator[Row]
    blank_count: int = field(default=0)


def read_sheet(
    content: bytes, file_name: str, kind: SheetKind, size_limit: int
) -> SheetReading[tuple[int, list[Any]]]:
    """Begin to read. Raises `FileError` (a subclass for each cause) here or while rows come.

    `size_limit` is in bytes. Rows are (number as in the sheet, cells); blank rows are left out and
    counted. Memory here: one list of rows.
    """
    return _begin(content, file_name, size_limit, [kind.name], tuple)


def read_orders(
    content: bytes, file_name: str, pages_mode: PagesMode, size_limit: int
) -> SheetReading[RowDraft]:
    """The same for an order sheet, whose rows are read to the end in the sandbox."""
    arguments = [ORDERS.name, pages_mode.value]
    return _begin(content, file_name, size_limit, arguments, unpacked)


def _begin(
    content: bytes,
    file_name: str,
    size_limit: int,
    arguments: list[str],
    unpack: Callable[[list[Any]], Row],
) -> SheetReading[Row]:
    if len(content) > size_limit:
        detail = f"{len(content) >> 20} MB > {size_limit >> 20} MB"
        raise FileTooLarge(file=file_name, detail=detail)
    lines = _child_lines(content, file_name, arguments)
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
            return
        yield from map(unpack, line)


def _child_lines(content: bytes, file_name: str, arguments: list[str]) -> Iterator[Any]:
    child = subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-I", "-m", "sheets.child", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=PIPE_BYTES,
        env={},  # no secret of ours is near a stranger's file
    )
    if child.stdin is None or child.stdout is None:
        raise FileUnreadable(file=file_name, detail="no pipe")
    feeder = threading.Thread(target=_feed, args=(child.stdin, content), daemon=True)
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


def _feed(pipe: IO[bytes], content: bytes) -> None:
    try:
        with pipe:
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
        case _:
            return FileUnreadable(file=file_name, detail=detail)
