"""A whole file read for what it orders: which sheet, which columns, each row, and what is to be asked.

Pure over `sheets.rows.Sheet`; runs in the sandbox. Gives lines as `sheets.child` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from models.rules.numbers import clean
from models.rules.serials import StockRanges
from models.rules.states import PagesMode, RowStatus
from sheets.corrections import Correction, by_row, corrected
from sheets.drafts import RowDraft
from sheets.headers import (
    ORDERS,
    RepeatedColumn,
    SheetKind,
    find_columns,
    header_bracket,
    header_key,
    two_level,
)
from sheets.layout import Evidence, Layout
from sheets.orders import OrderReader
from sheets.questions import (
    NO_ANSWERS,
    Answers,
    Question,
    QuestionCode,
    load_answers,
    row_list,
)
from sheets.rows import Marks, Refused, Row, Sheet
from sheets.words import NOTE, TOTAL, VOID_SPEECH, as_text

COLUMNS: Final = 256
HEADER_WITHIN: Final = 50
"""Rows in which the header row is looked for."""
LINES_TOGETHER: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What the reader is told: how to read, what a person answered, and the ranges of the stock."""

    mode: PagesMode | None = None
    answers: Answers = NO_ANSWERS
    layouts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Meanings remembered for layouts: by layout key, fields by header key."""
    stock: Sequence[tuple[str, str]] = ()

    def stored(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "mode": self.mode.value if self.mode else None,
            "answers": self.answers.stored(),
            "layouts": {key: dict(value) for key, value in self.layouts.items()},
            "stock": list(self.stock),
        }


def load_asked(stored: Mapping[str, Any]) -> Asked:
    """As `Asked.stored` gave it; nothing at all means plain rows without answers."""
    if not stored:
        return Asked()
    mode = stored["mode"]
    stock = [(first, last) for first, last in stored["stock"]]
    answers = load_answers(stored["answers"])
    return Asked(PagesMode(mode) if mode else None, answers, stored["layouts"], stock)


def layout_key(header: Sequence[str]) -> str:
    """The layout of a sheet: its header row, as compared."""
    return "|".join(header_key(h) for h in header).rstrip("|")


@dataclass(slots=True)
class _Found:
    """A sheet with its header row, read up to there."""

    sheet: Sheet
    header_row: int
    header: list[str]
    columns: dict[str, list[int]]
    titles: list[str]
    """Texts above the header row."""
    answered: dict[str, str]
    """Meanings of columns by a person's answer, now or remembered."""
    rows: Iterator[Row]
    remembered: bool = False


def order_lines(sheets: Iterator[Sheet], asked: Asked) -> Iterator[Any]:
    """The lines of an order file. Raises `Refused`."""
    found = [f for sheet in sheets if (f := _with_header(ORDERS, sheet, asked)) is not None]
    chosen = _choose(found, asked.answers.sheet)
    evidence = Evidence(StockRanges(asked.stock))
    reader = _reader(chosen, asked, evidence)
    layout = reader.layout
    yield {
        "sheet": chosen.sheet.name,
        "header_row": chosen.header_row,
        "header": chosen.header,
        "columns": layout.columns,
    }
    blank = 0
    corrections = by_row(asked.answers.corrections)
    changed: list[Correction] = []
    seen_hidden: set[int] = set()
    together: list[Any] = []
    hidden_columns = [i for i in layout.columns.values() if i in chosen.sheet.hidden_columns]
    for number, cells, marks in chosen.rows:
        if _is_blank(cells):
            blank += 1
            continue
        if number in corrections:
            cells, some = corrected(number, cells, corrections[number])  # noqa: PLW2901 - the row as it is read
            changed += some
        draft = reader.read(number, cells, marks)
        if hidden_columns and draft.status is not RowStatus.SKIPPED:
            seen_hidden.update(i for i in hidden_columns if i < len(cells) and cells[i] is not None)
        together.append(draft.packed())
        if len(together) == LINES_TOGETHER:
            yield together
            together = []
    if together:
        yield together
    others = [_other(f, asked, evidence) for f in found if f is not chosen]
    columns = layout.questions()
    questions = [
        *_about_sheets(chosen, others, asked.answers),
        *columns,
        *_about_hidden_columns(layout, seen_hidden, asked.answers),
        *_about_action(reader, columns),
        *_about_rows(reader, asked.answers),
    ]
    yield {
        "end": True,
        "blank": blank,
        "reading": _described(chosen, others, reader)
        | ({"corrected": [c.document() for c in changed]} if changed else {}),
        "questions": [q.stored() for q in questions],
    }


def _is_blank(cells: Sequence[Any]) -> bool:
    if not any(cells):
        return all(c is None or c == "" for c in cells)
    return all(c is None or (isinstance(c, str) and (not c or c.isspace())) for c in cells)


# -- finding the sheet and its header row ---------------------------------------------------------


def _with_header(kind: SheetKind, sheet: Sheet, asked: Asked) -> _Found | None:
    """The sheet with its header row; None when there is none in its first rows."""
    rows = iter(sheet.rows)
    titles: list[str] = []
    for number, cells, _ in rows:
        if number > HEADER_WITHIN:
            break
        texts = ["" if c is None else as_text(c) for c in cells]
        while texts and not texts[-1].strip():
            texts.pop()
        answered, remembered = _answered(texts, asked)
        try:
            columns = find_columns(kind, texts, answered)
        except RepeatedColumn as error:
            detail = f"重复的列 / repeated column: {error.args[0]}"
            raise Refused("file_unreadable", detail) from None
        if columns is None:
            titles += [t for t in texts if t.strip()]
            continue
        if len(texts) > COLUMNS:
            raise Refused("file_too_large", f"{len(texts)} > {COLUMNS} columns")
        found = _Found(sheet, number, texts, columns, titles, answered, rows, remembered)
        _look_below(found)
        return found
    return None


def _answered(header: Sequence[str], asked: Asked) -> tuple[dict[str, str], bool]:
    """Meanings that persons gave the columns of this header: now, and remembered for the layout."""
    remembered = asked.layouts.get(layout_key(header), {}) if asked.layouts else {}
    meanings = {**remembered, **asked.answers.columns}
    return meanings, bool(remembered)


def _look_below(found: _Found) -> None:
    """Take a second header row (起 and 止 under the serials), and serials under a merged header."""
    below = next(found.rows, None)
    if below is None:
        return
    number, cells, marks = below
    filled = marks.filled if marks is not None else frozenset[int]()
    own = [None if i in filled else c for i, c in enumerate(cells)]
    levels = two_level(found.columns, own)
    if levels is None:
        found.rows = _again(below, found.rows)
        return
    first, last = levels
    group = found.header[first]
    found.header += [""] * (last + 1 - len(found.header))
    found.header[first] = f"{group}{as_text(own[first])}"
    found.header[last] = f"{group}{as_text(own[last])}"
    del found.columns["serial"]
    found.columns["first_serial"], found.columns["last_serial"] = [first], [last]
    found.header_row = number


def _again(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _choose(found: Sequence[_Found], name: str | None) -> _Found:
    if name is not None:
        for candidate in found:
            if clean(candidate.sheet.name) == clean(name):
                return candidate
        names = ", ".join(f.sheet.name for f in found)
        raise Refused("sheet_not_found", names)
    if not found:
        raise Refused("no_header_row", ORDERS.wanted)
    return next((f for f in found if not f.sheet.hidden), found[0])


def _reader(found: _Found, asked: Asked, evidence: Evidence) -> OrderReader:
    here = asked.answers.columns.keys()
    layout = Layout(found.header, found.columns, found.answered, evidence, here)
    serial = found.columns.get("serial")
    if serial is not None:
        last = found.sheet.merged_right.get((found.header_row, serial[0]))
        if last is not None:
            layout.extend_serials(last)
    speech = [t for t in (*found.titles, found.sheet.name) if VOID_SPEECH.search(t)]
    brackets = (found.header[i] for n, i in layout.columns.items() if n != "reason")
    speech += [h for h in brackets if VOID_SPEECH.search(header_bracket(h))]
    mode = asked.mode or PagesMode.ADDITIONAL
    return OrderReader(layout, mode, asked.answers, list(dict.fromkeys(t[:40] for t in speech)))


# -- what is to be asked, and what is told --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Other:
    """Another sheet with the headers of an order."""

    name: str
    hidden: bool
    orders: bool
    """At least one of its rows would be done."""


def _other(found: _Found, asked: Asked, evidence: Evidence) -> _Other:
    reader = _reader(found, asked, evidence)
    orders = any(
        not _is_blank(cells) and _could_be_done(reader.read(number, cells, None))
        for number, cells, _ in found.rows
    )
    return _Other(found.sheet.name, found.sheet.hidden, orders)


def _could_be_done(draft: RowDraft) -> bool:
    """A right row, or one that only waits for an answer about its own sheet."""
    if draft.status is RowStatus.SKIPPED:
        return False
    return all(p.text_key == "question_open" for p in draft.problems)


def _about_sheets(chosen: _Found, others: Sequence[_Other], answers: Answers) -> Iterator[Question]:
    if answers.sheet is not None:
        return
    names = [chosen.sheet.name, *(o.name for o in others if o.orders)]
    options = tuple(f"--sheet {name}" for name in names)
    if len(names) > 1:
        yield Question(QuestionCode.SEVERAL_SHEETS, "、".join(names), len(names), answers=options)
    elif chosen.sheet.hidden:
        yield Question(QuestionCode.SHEET_HIDDEN, chosen.sheet.name, answers=options)


def _about_hidden_columns(layout: Layout, seen: set[int], answers: Answers) -> Iterator[Question]:
    for name, index in layout.columns.items():
        header = layout.header[index]
        if index in seen and name not in {"remark", "reference", "result", "result_serials"}:
            if header_key(header) in answers.columns:
                continue
            options = (f"--column {header}={name}", f"--ignore-column {header}")
            yield Question(QuestionCode.COLUMN_HIDDEN, header, answers=options)


def _about_action(reader: OrderReader, columns: Sequence[Question]) -> Iterator[Question]:
    """Nothing while a column may still say it: its answer comes first."""
    findings = reader.findings
    told_by_column = any("tick" in answer for q in columns for answer in q.answers)
    if findings.assumed and findings.void_speech and not told_by_column:
        yield Question(
            QuestionCode.ACTION_UNCLEAR,
            "、".join(dict.fromkeys(findings.void_speech))[:200],
            findings.assumed,
            samples=tuple(findings.void_speech[:3]),
            answers=("--action verify", "--action void"),
        )


def _about_rows(reader: OrderReader, answers: Answers) -> Iterator[Question]:
    findings = reader.findings
    if findings.hidden and answers.include_hidden is None:
        yield Question(
            QuestionCode.HIDDEN_ROWS,
            row_list(findings.hidden),
            len(findings.hidden),
            answers=("--include-hidden", "--skip-hidden"),
        )
    if findings.struck and answers.include_struck is None:
        yield Question(
            QuestionCode.STRUCK_ROWS,
            row_list(findings.struck),
            len(findings.struck),
            answers=("--include-struck", "--skip-struck"),
        )


def _described(chosen: _Found, others: Sequence[_Other], reader: OrderReader) -> dict[str, Any]:
    findings = reader.findings
    return {
        "sheet": chosen.sheet.name,
        "other_sheets": [{"sheet": o.name, "hidden": o.hidden, "orders": o.orders} for o in others],
        "columns": reader.layout.described(),
        "remembered": chosen.remembered,
        "hidden_rows": findings.hidden[:LINES_TOGETHER],
        "struck_rows": findings.struck[:LINES_TOGETHER],
        "assumed": {"action": "verify", "rows": findings.assumed} if findings.assumed else None,
        "layout": layout_key(chosen.header),
        "ignored_in_stock": reader.layout.ignored_in_stock(),
        "answered": {
            key: meaning
            for key, meaning in sorted(chosen.answered.items())
            if key in set(map(header_key, chosen.header))
        },
    }


# -- sheets that are no orders ---------------------------------------------------------------------


def plain_lines(kind: SheetKind, sheets: Iterator[Sheet], asked: Asked) -> Iterator[Any]:
    """Rows as they are, of every visible sheet that has the header: `[sheet, row number, cells]`.

    Totals and notes are left out and counted. Rows and sheets that nobody sees are asked about.
    """
    answers = asked.answers
    found = [f for sheet in sheets if (f := _with_header(kind, sheet, asked)) is not None]
    if answers.sheet is not None:
        found = [_choose(found, answers.sheet)]
    if not found:
        raise Refused("no_header_row", kind.wanted)
    visible = [f for f in found if not f.sheet.hidden or answers.sheet is not None]
    first = (visible or found)[0]
    same = [f for f in visible if f.columns == first.columns] or [first]
    apart = [f for f in found if f not in same]
    yield {
        "sheet": first.sheet.name,
        "header_row": first.header_row,
        "header": first.header,
        "columns": {name: places[0] for name, places in first.columns.items()},
    }
    blank = 0
    unseen: list[int] = []
    for one in same:
        together: list[Any] = []
        for number, cells, marks in one.rows:
            if _is_blank(cells) or _is_note(cells):
                blank += 1
                continue
            if _unseen(marks, first.columns) and not answers.include_hidden:
                unseen.append(number)
                continue
            together.append([number, [*cells], "" if one is first else one.sheet.name])
            if len(together) == LINES_TOGETHER:
                yield together
                together = []
        if together:
            yield together
    questions = []
    if unseen and answers.include_hidden is None:
        options = ("--include-hidden", "--skip-hidden")
        listed = row_list(unseen)
        questions.append(Question(QuestionCode.HIDDEN_ROWS, listed, len(unseen), answers=options))
    rest = [f.sheet.name for f in apart if any(not _is_blank(c) for _, c, _ in f.rows)]
    if rest or (first.sheet.hidden and answers.sheet is None):
        names = [*(f.sheet.name for f in same), *rest]
        code = QuestionCode.SEVERAL_SHEETS if rest else QuestionCode.SHEET_HIDDEN
        questions.append(
            Question(
                code, "、".join(names), len(names), answers=tuple(f"--sheet {n}" for n in names)
            )
        )
    yield {
        "end": True,
        "blank": blank,
        "reading": {},
        "questions": [q.stored() for q in questions],
    }


def _unseen(marks: Marks | None, columns: Mapping[str, Sequence[int]]) -> bool:
    if marks is None:
        return False
    return marks.hidden or any(place in marks.struck for p in columns.values() for place in p)


def _is_note(cells: Sequence[Any]) -> bool:
    """A total, or a note: a text in the first cell that has one, and at most a number beside it."""
    texts = [clean(c) for c in cells if isinstance(c, str) and clean(c)]
    if any(TOTAL.match(text.replace(" ", "")) for text in texts):
        return True
    return bool(texts) and NOTE.match(texts[0]) is not None
