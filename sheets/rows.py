"""What every kind of file gives its rows as, and how a file is refused. Pure: standard library alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """The file is not read; `code` is the file's error code."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass(slots=True)
class Marks:
    """What a row shows besides its values. Columns are zero-based."""

    hidden: bool = False
    """Not seen by who looks at the sheet: hidden, filtered away, or in a collapsed group."""
    struck: frozenset[int] = frozenset()
    """Cells that are struck out whole."""
    part_struck: frozenset[int] = frozenset()
    """Cells of which a part is struck out."""
    filled: frozenset[int] = frozenset()
    """Cells whose value is that of a merged cell above them."""


Row = tuple[int, list[Any], Marks | None]
"""Number as in the sheet, cells, marks where there are any. A cell is text, a number, a truth value,
None, or `{"date"}`, `{"error"}`, `{"formula"}`."""


@dataclass(slots=True)
class Sheet:
    """One sheet of a file. `rows` may be run through once; what is said of columns is known before."""

    name: str
    rows: Iterator[Row]
    hidden: bool = False
    hidden_columns: frozenset[int] = frozenset()
    merged_right: dict[tuple[int, int], int] = field(default_factory=dict)
    """Cells merged over several columns: (row number, column) -> last column."""


class Merged:
    """A sheet's merged areas of more than one row: the value goes to the lower rows, and nowhere else.

    Rows come in order. The work is that of the cells read, however many areas a file declares.
    """

    def __init__(self, areas: Iterable[tuple[int, int, int]]) -> None:
        """`areas`: top row, left column, bottom row, zero-based."""
        self._coming = sorted((area for area in areas if area[0] < area[2]), reverse=True)
        self._until: dict[int, int] = {}
        self._above: dict[int, Any] = {}

    def fill(self, row: int, cells: list[Any]) -> frozenset[int]:
        """Fill the cells of the row; gives the columns that were."""
        if not self._above and not (self._coming and self._coming[-1][0] <= row):
            return frozenset()
        filled = []
        for column, value in self._above.items():
            if column < len(cells) and cells[column] in (None, ""):
                cells[column] = value
                filled.append(column)
        while self._coming and self._coming[-1][0] <= row:
            _, left, bottom = self._coming.pop()
            if left < len(cells):
                self._until[left] = max(bottom, self._until.get(left, bottom))
        self._until = {column: last for column, last in self._until.items() if last > row}
        self._above = {c: cells[c] for c in self._until if c < len(cells)}
        return frozenset(filled)
