"""Questions about a sheet, and a person's answers. Pure: standard library alone.

What in a sheet could change what is done and is not understood becomes a question that stops the
sheet; the command, the pages and the API all answer with `Answers` (rule 4 of how-it-works.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from models.rules.errors import BadArgument
from models.rules.language import Text, t
from models.rules.states import Action, label
from sheets.headers import ANSWERABLE, ORDERS, header_key


class QuestionCode(StrEnum):
    """What is asked; the codes are stable."""

    COLUMN_UNKNOWN = "column_unknown"
    COLUMN_HIDDEN = "column_hidden"
    ACTION_UNCLEAR = "action_unclear"
    SEVERAL_SHEETS = "several_sheets"
    SHEET_HIDDEN = "sheet_hidden"
    HIDDEN_ROWS = "hidden_rows"
    STRUCK_ROWS = "struck_rows"


QUESTION_TEXTS: Final[dict[QuestionCode, Text]] = {
    QuestionCode.COLUMN_UNKNOWN: Text(
        "“{what}”列{why}，它是什么意思？", 'what does column "{what}" mean? It {why}'
    ),
    QuestionCode.COLUMN_HIDDEN: Text(
        "“{what}”列被隐藏，但内有要办理的内容，要用吗？",
        'column "{what}" is hidden and holds part of the orders; is it to be used?',
    ),
    QuestionCode.ACTION_UNCLEAR: Text(
        "没有写明操作的 {count} 行，是核销还是作废？表中提到作废: {what}(不都一样时，请在表中加“操作”列)",
        "{count} rows do not say what to do: verify or void? The sheet speaks of voiding: {what} (if they "
        'differ, add a column "操作" to the sheet)',
    ),
    QuestionCode.SEVERAL_SHEETS: Text(
        "有 {count} 个工作表都有可办理的行({what})，办理哪一个？",
        "{count} sheets have rows that could be done ({what}); which one is meant?",
    ),
    QuestionCode.SHEET_HIDDEN: Text(
        "可办理的行都在隐藏的工作表“{what}”里，要用它吗？",
        'the rows are in the hidden sheet "{what}"; is it to be used?',
    ),
    QuestionCode.HIDDEN_ROWS: Text(
        "有 {count} 行被隐藏或筛选掉(第 {what} 行)，也要办理吗？",
        "{count} rows are hidden or filtered away (rows {what}); are they to be done too?",
    ),
    QuestionCode.STRUCK_ROWS: Text(
        "有 {count} 行加了删除线(第 {what} 行)，还要办理吗？",
        "{count} rows are struck out (rows {what}); are they still to be done?",
    ),
}

WHY_TEXTS: Final = {
    "in_stock": Text("里有库存中的流水号", "holds serials of the stock"),
    "action_words": Text("里有核销/作废一类的字或勾", "holds words or ticks for verify or void"),
    "header": Text("的标题提到流水号、证单、核销或作废", "speaks of serials, forms or actions"),
    "counts": Text("里像是页数", "looks like page counts"),
}
"""Why a column is asked about."""

_SAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Question:
    """One question: what it is about, three sample values, and the answers that it takes."""

    code: QuestionCode
    what: str
    """The header, the sheets or the rows that it is about, as the person sees them."""
    count: int = 0
    why: str = ""
    samples: Sequence[str] = ()
    answers: Sequence[str] = ()
    """Each as the command takes it: an option with its value, without quotation marks."""

    @property
    def message(self) -> str:
        """The question in the current language."""
        why = str(WHY_TEXTS[self.why]) if self.why else ""
        return QUESTION_TEXTS[self.code].fill(what=self.what, count=self.count, why=why)

    def stored(self) -> dict[str, Any]:
        """As kept, without any language."""
        return {
            "code": self.code.value,
            "what": self.what,
            "count": self.count,
            "why": self.why,
            "samples": list(self.samples),
            "answers": list(self.answers),
        }

    def shown(self) -> dict[str, Any]:
        """As given to programs: what is kept, with the text of the moment."""
        return {**self.stored(), "message": self.message}


def load_question(stored: Mapping[str, Any]) -> Question:
    """A question as `Question.stored` kept it."""
    return Question(
        QuestionCode(stored["code"]),
        stored["what"],
        stored["count"],
        stored["why"],
        tuple(stored["samples"]),
        tuple(stored["answers"]),
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person said about a sheet. Nothing said, nothing assumed."""

    sheet: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field by header key; "" for a column that is not to be used."""
    action: Action | None = None
    include_hidden: bool | None = None
    include_struck: bool | None = None
    corrections: Mapping[str, str] = field(default_factory=dict)
    """Cells that are read as if this text stood there (`sheets.corrections`), by their names."""

    def stored(self) -> dict[str, Any]:
        """As kept with the batch, and as the sandbox is told."""
        corrected = {"corrections": dict(sorted(self.corrections.items()))}
        return {
            "sheet": self.sheet,
            "columns": dict(sorted(self.columns.items())),
            "action": self.action.value if self.action else None,
            "include_hidden": self.include_hidden,
            "include_struck": self.include_struck,
            **(corrected if self.corrections else {}),
        }


def load_answers(stored: Mapping[str, Any]) -> Answers:
    """Answers as `Answers.stored` kept them."""
    action = stored["action"]
    return Answers(
        stored["sheet"],
        stored["columns"],
        Action(action) if action else None,
        stored["include_hidden"],
        stored["include_struck"],
        stored.get("corrections", {}),
    )


NO_ANSWERS: Final = Answers()


def row_list(numbers: Sequence[int], shown: int = 8) -> str:
    """Row numbers for a sentence: the first ones."""
    text = ", ".join(map(str, numbers[:shown]))
    return f"{text} …" if len(numbers) > shown else text


_YES_OR_NO: Final[Mapping[str, tuple[str, Any]]] = {
    "--include-hidden": ("include_hidden", True),
    "--skip-hidden": ("include_hidden", False),
    "--include-struck": ("include_struck", True),
    "--skip-struck": ("include_struck", False),
}


def answers_said(options: Iterable[str], before: Answers) -> Answers:
    """What was chosen among the answers that questions offer, beside what had been said before.

    Raises `BadArgument` for what no question offers.
    """
    said = before
    for option in options:
        name, _, value = option.partition(" ")
        header, mark, meaning = value.rpartition("=")
        if name in _YES_OR_NO and not value:
            field_name, yes = _YES_OR_NO[name]
            said = replace(said, **{field_name: yes})
        elif name == "--sheet" and value:
            said = replace(said, sheet=value)
        elif name == "--action" and value in set(Action):
            said = replace(said, action=Action(value))
        elif name == "--ignore-column" and value:
            said = replace(said, columns={**said.columns, header_key(value): ""})
        elif name == "--column" and mark and meaning in ANSWERABLE:
            said = replace(said, columns={**said.columns, header_key(header): meaning})
        else:
            raise BadArgument(detail=option[:100])
    return said


def answer_words(option: str) -> str:
    """An answer in people's words."""
    name, _, value = option.partition(" ")
    if name == "--column":
        return ORDERS.words[value.rpartition("=")[2]][0]
    if name == "--action":
        return label(Action(value))
    if name == "--sheet":
        return t(f"工作表“{value}”", f'sheet "{value}"')
    if name == "--ignore-column":
        return t("与办理无关，不用", "not used")
    return (
        t("照样办理", "do them too") if name.startswith("--include") else t("不办理", "leave them")
    )
