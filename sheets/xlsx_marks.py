"""What an xlsx sheet shows that the fast reader leaves out: errors, empty formulas, hidden and struck cells.

The XML of a sheet is looked through for bytes that a mark would need; it is parsed only when there are
any, once. Names are compared without their namespace, so strict workbooks and odd prefixes are read too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Final
from xml.parsers import expat

from sheets.rows import Marks, Refused

_OVERLAP: Final = 64
_HINTS: Final = (
    *(
        b'hidden="1',
        b'hidden="t',
        b'hidden="o',
        b"strike",
        b'ht="0"',
        b'width="0"',
        b't="e"',
        b"<f>",
        b"<f ",
        b"<f/",
    ),
    *(b":row", b"='", b" =", b"= ", b"\0", b"<!D", b"<!E"),
)
"""Bytes without which a sheet has no mark; the last line stands for ways to write it differently."""

_TRUE: Final = frozenset({"1", "true", "on"})
_STYLES_LOOKED_FOR: Final = 40
_LAST_COLUMN: Final = 16_384

Attributes = dict[str, str]


def local(name: str) -> str:
    """A name without its prefix."""
    return name.rpartition(":")[2]


def parse(
    content: bytes | IO[bytes],
    start: Callable[[str, Attributes], Any],
    end: Callable[[str], Any] | None = None,
    text: Callable[[str], Any] | None = None,
) -> None:
    """Run through a part. A DTD is refused: nothing is ever expanded or fetched."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_dtd
    if isinstance(content, bytes):
        parser.Parse(content, True)
    else:
        parser.ParseFile(content)


def _refuse_dtd(*_: Any) -> None:
    raise Refused("file_unreadable", "DTD")


class Styles:
    """Which cell styles and shared strings of a workbook are struck out."""

    def __init__(self, styles: bytes, strings: bytes) -> None:
        self.struck = _struck_styles(styles) if b"strike" in styles or b"\0" in styles else set()
        self.strings: dict[int, bool] = {}
        """By index of a shared string: whether all of it is struck out, or a part."""
        if b"strike" in strings or b"\0" in strings:
            self.strings = _struck_strings(strings)


def _struck_styles(content: bytes) -> set[int]:
    fonts: list[bool] = []
    formats: list[int] = []
    inside = ""

    def start(name: str, values: Attributes) -> None:
        nonlocal inside
        tag = local(name)
        if tag in {"fonts", "cellXfs", "cellStyleXfs", "dxfs"}:
            inside = tag
        elif tag == "font" and inside == "fonts":
            fonts.append(False)
        elif tag == "strike" and inside == "fonts" and fonts:
            fonts[-1] = values.get("val", "1") in _TRUE
        elif tag == "xf" and inside == "cellXfs":
            font = values.get("fontId", "0")
            formats.append(int(font) if font.isdecimal() else 0)

    parse(content, start)
    struck = {index for index, is_struck in enumerate(fonts) if is_struck}
    return {index for index, font in enumerate(formats) if font in struck}


def _struck_strings(content: bytes) -> dict[int, bool]:
    found: dict[int, bool] = {}
    index = -1
    struck = in_text = False
    counts = [0, 0]

    def start(name: str, values: Attributes) -> None:
        nonlocal index, struck, in_text
        tag = local(name)
        if tag == "si":
            index += 1
            struck = False
            counts[:] = [0, 0]
        elif tag == "r":
            struck = False
        elif tag == "strike":
            struck = values.get("val", "1") in _TRUE
        elif tag == "t":
            in_text = True

    def end(name: str) -> None:
        nonlocal in_text
        tag = local(name)
        if tag == "t":
            in_text = False
        elif tag == "si" and counts[1]:
            found[index] = counts[0] == 0

    def text(data: str) -> None:
        if in_text:
            counts[struck] += len(data.strip())

    parse(content, start, end, text)
    return found


@dataclass(slots=True)
class SheetMarks:
    """The marks of one sheet; rows and columns are zero-based."""

    cells: dict[int, dict[int, Any]] = field(default_factory=dict)
    """Cells that only look blank: `{"error": text}` or `{"formula": true}`."""
    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: frozenset[int] = frozenset()
    struck: dict[int, set[int]] = field(default_factory=dict)
    part_struck: dict[int, set[int]] = field(default_factory=dict)

    def of_row(self, row: int, filled: frozenset[int]) -> Marks | None:
        """Those of one row, with the cells that a merged one fills; None when there are none."""
        hidden = row in self.hidden_rows
        struck = frozenset(self.struck.get(row, ()))
        part = frozenset(self.part_struck.get(row, ()))
        return Marks(hidden, struck, part, filled) if hidden or struck or part or filled else None


MARK_FREE: Final = SheetMarks()


class SheetScan:
    """Looks at a sheet's bytes as they are unpacked, and parses them when there may be a mark."""

    def __init__(self, styles: Styles) -> None:
        many = len(styles.struck) > _STYLES_LOOKED_FOR
        struck = () if many else tuple(b' s="%d"' % n for n in styles.struck)
        self._hints = (*_HINTS, *struck)
        self._found = many or bool(styles.strings)
        self._before = b""

    def look(self, window: bytes) -> None:
        """One window after the other."""
        if not self._found:
            seen = self._before + window
            self._found = any(hint in seen for hint in self._hints)
            self._before = window[-_OVERLAP:]

    def marks(self, stream: IO[bytes], styles: Styles) -> SheetMarks:
        """The marks of the sheet that was looked at."""
        return _Parsed(styles).run(stream) if self._found else MARK_FREE


class _Parsed:
    """One run through a sheet's XML."""

    def __init__(self, styles: Styles) -> None:
        self._marks = SheetMarks()
        self._struck_styles = {str(n) for n in styles.struck}
        self._strings = styles.strings
        self._row = self._column = -1
        self._kind = ""
        self._formula = self._inline_struck = False
        self._value: list[str] = []
        self._columns: dict[str, int] = {}
        self._hidden_columns: set[int] = set()
        self._parser = expat.ParserCreate()

    def run(self, stream: IO[bytes]) -> SheetMarks:
        """Parse to the end. Raises `Refused` for what is no XML."""
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse_dtd
        try:
            self._parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise Refused("file_unreadable", f"XML: {error}") from error
        self._marks.hidden_columns = frozenset(self._hidden_columns)
        return self._marks

    def _start(self, name: str, values: Attributes) -> None:
        tag = name if ":" not in name else local(name)
        if tag == "c":
            self._start_cell(values)
        elif tag == "v":
            if self._kind == "e" or self._formula or (self._kind == "s" and self._strings):
                self._parser.CharacterDataHandler = self._value.append
        elif tag == "f":
            self._formula = True
        elif tag == "row":
            number = values.get("r")
            self._row = int(number) - 1 if number else self._row + 1
            self._column = -1
            if values.get("hidden") in _TRUE or values.get("ht") == "0":
                self._marks.hidden_rows.add(self._row)
        elif tag == "strike" and self._kind == "inlineStr":
            self._inline_struck |= values.get("val", "1") in _TRUE
        elif tag == "col" and (values.get("hidden") in _TRUE or values.get("width") == "0"):
            last = min(int(values.get("max", "0")), _LAST_COLUMN)
            self._hidden_columns.update(range(int(values.get("min", "1")) - 1, last))

    def _start_cell(self, values: Attributes) -> None:
        reference = values.get("r")
        self._column = self._column_of(reference) if reference else self._column + 1
        self._kind = values.get("t", "")
        self._formula = self._inline_struck = False
        self._value.clear()
        if values.get("s") in self._struck_styles:
            self._marks.struck.setdefault(self._row, set()).add(self._column)

    def _end(self, name: str) -> None:
        tag = name if ":" not in name else local(name)
        if tag == "v":
            self._parser.CharacterDataHandler = None
        elif tag == "c":
            value = "".join(self._value)
            if self._kind == "e":
                self._mark({"error": value or "#ERR"})
            elif self._formula and not value and self._kind != "str":
                self._mark({"formula": True})
            elif self._inline_struck:
                self._marks.part_struck.setdefault(self._row, set()).add(self._column)
            elif self._strings and self._kind == "s" and value.strip().isdecimal():
                whole = self._strings.get(int(value))
                if whole is not None:
                    rows = self._marks.struck if whole else self._marks.part_struck
                    rows.setdefault(self._row, set()).add(self._column)
            self._kind = ""

    def _mark(self, mark: dict[str, Any]) -> None:
        self._marks.cells.setdefault(self._row, {})[self._column] = mark

    def _column_of(self, reference: str) -> int:
        letters = reference.rstrip("0123456789")
        column = self._columns.get(letters)
        if column is None:
            column = 0
            for letter in letters:
                column = column * 26 + ord(letter.upper()) - ord("A") + 1
            column -= 1
            self._columns[letters] = column
        return column
