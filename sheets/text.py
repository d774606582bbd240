"""Text files as sheets: the delimiter is the one under which a header row is found."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from sheets.rows import Refused, Row, Sheet

LINE_LENGTH: Final = 1024**2
"""Characters of a line of text: 256 cells of 4,000."""
FIELD_LENGTH: Final = 100_000
DELIMITERS: Final = "\t,;|"
_LOOKED_AT: Final = 50
_SEP: Final = "sep="
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_PLAIN: Final = ("utf-8", "gb18030")
_OLD_TEXT_END: Final = "\x1a"
_BIG5_WORDS: Final = ("證", "號", "頁", "廢")

IsHeader = Callable[[Sequence[Any]], bool]


def text_sheets(content: bytes, is_header: IsHeader) -> Iterator[Sheet]:
    """The one sheet of a text file. Raises `Refused`, naming the line."""
    text = decode(content)
    csv.field_size_limit(FIELD_LENGTH)
    delimiter, lines_before = "", 0
    first_line = text[:8].partition("\n")[0].strip()
    if first_line.lower().startswith(_SEP) and len(first_line) == len(_SEP) + 1:
        delimiter = first_line[-1]
        text = text.partition("\n")[2]
        lines_before = 1
    delimiter = delimiter or _delimiter(text, is_header)
    if not delimiter:
        _say_what_else_it_is(content)
        delimiter = max(DELIMITERS, key=text[:4096].count)
    yield Sheet("", _rows(text, delimiter, lines_before))


def _delimiter(text: str, is_header: IsHeader) -> str:
    start = text[: _LOOKED_AT * 4096]
    for delimiter in sorted(DELIMITERS, key=start[:4096].count, reverse=True):
        try:
            rows = list(
                islice(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), _LOOKED_AT)
            )
        except csv.Error:
            continue
        if any(is_header(row) for row in rows):
            return delimiter
    return ""


def _say_what_else_it_is(content: bytes) -> None:
    """Text whose header nobody finds may be in an encoding that reads as other words."""
    text = content[:4096].decode("big5", "ignore")
    if not content.startswith(_BOMS[0][0]) and any(word in text for word in _BIG5_WORDS):
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            detail = "像是繁体 Big5 编码；请另存为 UTF-8 / looks like Big5; save it as UTF-8"
            raise Refused("file_unreadable", detail) from None


def _rows(text: str, delimiter: str, lines_before: int) -> Iterator[Row]:
    short = map(_checked_line, io.StringIO(text, newline=""))
    reader = csv.reader(short, delimiter=delimiter, strict=True)
    number, began = lines_before, 0
    try:
        for cells in reader:
            number += 1
            began = reader.line_num
            yield number, [cell or None for cell in cells], None
    except csv.Error:
        line = began + 1 + lines_before
        detail = (
            f"第 {line} 行的引号不成对，请改正或删去该引号"
            f" / line {line}: a quotation mark without its other half"
        )
        raise Refused("file_unreadable", detail) from None


def _checked_line(line: str) -> str:
    if len(line) > LINE_LENGTH:
        raise Refused("file_too_large", f"{len(line)} > {LINE_LENGTH} characters in a line")
    return line


def decode(content: bytes) -> str:
    """BOM, else strict UTF-8, else strict GB18030 (what spreadsheet programs here write)."""
    marked = [encoding for mark, encoding in _BOMS if content.startswith(mark)]
    for encoding in marked[:1] or _PLAIN:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise Refused("file_unreadable", _nul(content, text))
        return text.removesuffix(_OLD_TEXT_END)
    raise Refused("file_unreadable", _undecodable(content))


def _nul(content: bytes, text: str) -> str:
    if content[1:64:2].count(0) > content[:64:2].count(0) or content.count(0) * 4 > len(content):
        return "像是没有标记(BOM)的 UTF-16 或不是文本；请另存为 UTF-8 / UTF-16 without a mark, or no text"
    line = text.count("\n", 0, text.index("\0")) + 1
    return f"第 {line} 行有空字符(NUL)，请删去 / line {line} holds a NUL character"


def _undecodable(content: bytes) -> str:
    if b"\0" in content[:4096]:
        try:
            if content[: len(content) & ~1].decode("utf-16-le").count("\n"):
                return "像是没有标记(BOM)的 UTF-16；请另存为 UTF-8 / looks like UTF-16 without a mark; save it as UTF-8"
        except UnicodeDecodeError:
            pass
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        mostly = content[: error.start].decode("utf-8", "ignore")
        if not mostly.isascii():
            return (
                f"第 {line} 行有不属于 UTF-8 的字节，请重新输入该行或另存为 UTF-8"
                f" / line {line} holds bytes that are not UTF-8"
            )
    return "既非表格也非文本 / neither a workbook nor text"
