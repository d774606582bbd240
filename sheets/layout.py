"""The columns of one order sheet: understood, ours, of no account, or to be asked about.

Pure. A column that nobody knows is watched while rows are read; what its cells show decides whether it
is asked about (rule 4 of how-it-works.md): only where a wrong form could follow, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from models.rules.numbers import clean
from models.rules.problems import column_letters
from models.rules.serials import MAX_SERIALS_PER_ROW, StockRanges
from sheets.headers import (
    CAME_BACK,
    COUNT_HEADER,
    SERIAL_HEADER,
    header_key,
    is_no_account,
    is_ours,
)
from sheets.questions import Question, QuestionCode
from sheets.words import ACTION_OF, BARE_MARKS, FILLERS, HISTORY, TICKS, as_text, value_key

UNUSED: Final = ""
"""Meaning of a column that is of no account."""
OURS: Final = "ours"
ASKED: Final = "asked"

_SAMPLES: Final = 3
_TOKEN: Final = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9A-Za-z][-_/.])[0-9A-Za-z]{6,12}(?![0-9A-Za-z])"
)
_NUMBER_SIGN: Final = re.compile(r"\bno[.:]", re.IGNORECASE)
_SHORTEST: Final = 6
_LONGEST: Final = 12
"""Characters of a serial."""
_SPEAKS: Final = re.compile("作废|核销|报废|打废")
_SPEAKING_LENGTH: Final = 16
"""Characters of a cell that says an action; longer ones are prose."""
_KNOWN: Final = 20_000
"""Different texts of which is remembered what they show."""


@dataclass(slots=True)
class Watched:
    """A column whose meaning nobody knows yet, or that is only of no account while it shows nothing."""

    index: int
    header: str
    no_account: bool
    speaks: bool = False
    """The header itself speaks of serials or actions."""
    counts: bool = False
    """The header may be one of page counts."""
    in_counted_rows: bool = False
    """A remark: asked about only where a row chooses serials by count."""
    ignored: bool = False
    """A person said that it is not to be used: asked again only where that was said for another file."""
    here: bool = False
    """That was said for this file."""
    in_stock: bool = False
    why: str = ""
    samples: list[str] = field(default_factory=list)

    def ask(self, why: str, cell: str) -> None:
        """It is to be asked about: the gravest reason is the one that is told."""
        if not self.why or _GRAVITY[why] < _GRAVITY[self.why]:
            self.why = why
            self.samples.clear()
        if self.why == why and len(self.samples) < _SAMPLES and cell not in self.samples:
            self.samples.append(cell[:60])

    def question(self) -> Question:
        """The question about this column."""
        options = [f"--column {self.header}={meaning}" for meaning in self._may_mean()]
        return Question(
            QuestionCode.COLUMN_UNKNOWN,
            self.header,
            why=self.why,
            samples=tuple(self.samples),
            answers=(*options, f"--ignore-column {self.header}"),
        )

    def _may_mean(self) -> tuple[str, ...]:
        if self.why == "in_stock":
            return ("serial",)
        if self.why == "counts":
            return ("page_count",)
        ticks = self.why == "action_words"
        if "作废" in self.header or "报废" in self.header:
            return ("void_tick", "action") if ticks else ("void_serials", "reason")
        if "核销" in self.header:
            return ("verify_tick", "action") if ticks else ("serial", "page_count")
        return ("action", "verify_tick", "void_tick") if ticks else ("serial",)


_GRAVITY: Final = {"in_stock": 0, "action_words": 1, "header": 2, "counts": 3}


@dataclass(slots=True)
class Shown:
    """What a cell shows: a serial of ours, or a word or tick of an action."""

    serial: bool = False
    action: bool = False
    bare: bool = False
    """Only a mark that means anything and nothing: 1, 0, V, X, Y, 是, 否."""


_NOTHING: Final = Shown()


class Evidence:
    """Says what cells show, given the ranges of the stock. Texts that come again cost nothing."""

    def __init__(self, stock: StockRanges) -> None:
        self._stock = stock
        self._seen: dict[str, Shown] = {}

    def of(self, cell: Any) -> Shown:
        """What this cell shows."""
        kind = type(cell)
        if kind is str:
            found = self._seen.get(cell)
            if found is None:
                found = self._of_text(cell)
                if len(self._seen) < _KNOWN:
                    self._seen[cell] = found
            return found
        if kind is int:
            if cell in (0, 1):
                return Shown(action=True, bare=True)
            return Shown(serial=True) if cell > 0 and str(cell) in self._stock else _NOTHING
        return _NOTHING

    def _of_text(self, cell: str) -> Shown:
        text = clean(cell)
        if text.isalnum() and text.isascii():
            serial = _SHORTEST <= len(text) <= _LONGEST and text.upper() in self._stock
        else:
            tokens = _TOKEN.findall(_NUMBER_SIGN.sub(" ", text))
            serial = any(token.upper() in self._stock for token in tokens)
        if len(text) > _SPEAKING_LENGTH:
            return Shown(serial=True) if serial else _NOTHING
        key = value_key(text)
        action = key in ACTION_OF or key in HISTORY or key in TICKS
        if not action and not text.isascii():
            action = _SPEAKS.search(text) is not None
        if not serial and not action and key not in BARE_MARKS:
            return _NOTHING
        return Shown(serial, action or key in BARE_MARKS, key in BARE_MARKS)


class Layout:
    """The columns of a sheet by meaning, with those that are watched."""

    def __init__(
        self,
        header: Sequence[str],
        columns: Mapping[str, Sequence[int]],
        answered: Mapping[str, str],
        evidence: Evidence,
        here: Collection[str] = (),
    ) -> None:
        """`columns`: as `find_columns` gave them; `answered`: fields by header key, "" for none; `here`:
        those that were answered for this file.
        """
        self.header = list(header)
        self.columns = {name: places[0] for name, places in columns.items()}
        self.more_serials = list(columns.get("serial", ()))[1:]
        self.evidence = evidence
        self._answered = answered
        self._here = here
        self._came_back = any(header_key(h) in CAME_BACK for h in header)
        used = {i for places in columns.values() for i in places}
        self.nameless = [i for i, h in enumerate(header) if not h.strip() and i not in used]
        self.watched = list(self._watch(used))

    def _watch(self, used: set[int]) -> Iterator[Watched]:
        # a person's own column of that name may say what is to be done; our outcomes say nothing of it
        soft = {self.columns[n] for n in ("reference", "remark", "result") if n in self.columns}
        for index, header in enumerate(self.header):
            key = header_key(header)
            if not header.strip() or (self._ours(header) and index not in soft):
                continue
            if key in self._answered and self._answered[key] == UNUSED:
                yield Watched(index, header, no_account=True, ignored=True, here=key in self._here)
                continue
            if index in used and (index not in soft or key in self._answered):
                continue
            none = is_no_account(header) or index in soft
            yield Watched(
                index,
                header,
                none,
                speaks=not none and SERIAL_HEADER.search(clean(header)) is not None,
                counts=not none and COUNT_HEADER.search(clean(header)) is not None,
                in_counted_rows=index == self.columns.get("remark"),
            )

    def _ours(self, header: str) -> bool:
        """Whether it is a column of ours: only in a sheet that shows that it comes from us."""
        return self._came_back and is_ours(header)

    def extend_serials(self, last: int) -> None:
        """Columns without a header up to `last` are under the merged header of the serials."""
        first = self.columns["serial"]
        self.more_serials += [i for i in self.nameless if first < i <= last]
        self.nameless = [i for i in self.nameless if not first < i <= last]

    def look(self, cells: Sequence[Any], *, by_count: bool, demands: bool) -> list[int]:
        """Look at the watched cells of a row; gives columns because of which the row waits.

        `by_count`: the row chooses serials by count; `demands`: it has an understood count or serials.
        """
        waits: list[int] = []
        width = len(cells)
        for column in self.watched:
            cell = cells[column.index] if column.index < width else None
            if cell is None:
                continue
            shown = self.evidence.of(cell)
            if column.ignored:
                column.in_stock |= shown.serial
                if shown.serial and not column.here:
                    column.ask("in_stock", as_text(cell))
                    waits.append(column.index)
            elif shown.serial and (by_count or not column.in_counted_rows):
                column.ask("in_stock", as_text(cell))
                waits.append(column.index)
            elif column.in_counted_rows:
                continue
            elif shown.action and (column.speaks or not shown.bare):
                column.ask("action_words", as_text(cell))
                waits.append(column.index)
            elif column.speaks and clean(as_text(cell)).casefold() not in FILLERS:
                column.ask("header", as_text(cell))
            elif column.counts and not demands and _small_number(cell):
                column.ask("counts", as_text(cell))
        return waits

    def beyond(self, cells: Sequence[Any]) -> tuple[list[int], list[int]]:
        """Cells under no header that show serials of ours, and those that show an action."""
        serials: list[int] = []
        actions: list[int] = []
        width = len(self.header)
        places = (
            self.nameless if len(cells) <= width else (*self.nameless, *range(width, len(cells)))
        )
        for index in places:
            cell = cells[index] if index < len(cells) else None
            if cell is None:
                continue
            shown = self.evidence.of(cell)
            if shown.serial:
                serials.append(index)
            elif shown.action and not shown.bare:
                actions.append(index)
        return serials, actions

    def questions(self) -> list[Question]:
        """About the columns, now that the rows were read."""
        return [column.question() for column in self.watched if column.why]

    def ignored_in_stock(self) -> list[str]:
        """Keys of columns that are not used although their cells are in stock: said for one file only."""
        return [header_key(c.header) for c in self.watched if c.ignored and c.in_stock]

    def described(self) -> list[dict[str, str]]:
        """Each named column with its meaning, as programs are told."""
        meanings = {index: name for name, index in self.columns.items()}
        meanings |= dict.fromkeys(self.more_serials, "serial")
        asked = {column.index for column in self.watched if column.why}
        found = []
        for index, header in enumerate(self.header):
            if not header.strip():
                continue
            by = "answer" if header_key(header) in self._answered else "header"
            meaning = meanings.get(index, UNUSED)
            if index in asked:
                meaning = ASKED
            elif self._ours(header):
                meaning = meaning or OURS
            found.append(
                {"header": header, "column": column_letters(index), "meaning": meaning, "by": by}
            )
        return found


def _small_number(cell: Any) -> bool:
    if isinstance(cell, bool):
        return False
    if isinstance(cell, str):
        cell = clean(cell)
        return cell.isdecimal() and len(cell) < 4 and 0 < int(cell) <= MAX_SERIALS_PER_ROW  # noqa: PLR2004
    return isinstance(cell, int) and 0 < cell <= MAX_SERIALS_PER_ROW
