"""docs/sheets.md says every header word, question and problem code that the product knows."""

from __future__ import annotations

from models.rules.problems import PROBLEM_TEXTS, Problem
from sheets.headers import ANSWERABLE, ORDERS, SheetKind
from sheets.questions import QuestionCode
from sheets.words import VERIFY_WORDS, VOID_WORDS
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "sheets.md").read_text(encoding="utf-8")
MADE_OF_OTHERS = ("起", "起始", "止", "至", "截止")
"""Endings of serial words: 流水号起, 流水号止 stand in the page as a rule."""


def words_of(kind: SheetKind) -> set[str]:
    plain = set(kind.words["serial"])
    made = {w + end for w in plain for end in MADE_OF_OTHERS}
    fields = (f for f in kind.words if f not in {"result", "result_serials"})
    return {w for field in fields for w in kind.words[field]} - made


def test_every_header_word_and_action_word_is_in_the_page():
    assert [w for w in sorted(words_of(ORDERS)) if w not in PAGE] == []
    assert [w for w in (*VERIFY_WORDS, *VOID_WORDS) if w not in PAGE] == []
    assert [m for m in ANSWERABLE if m not in PAGE] == []


def test_every_question_and_every_problem_code_is_in_the_page():
    assert [c.value for c in QuestionCode if f"`{c.value}`" not in PAGE] == []
    codes = {Problem(key).code for key in PROBLEM_TEXTS}
    assert sorted(c for c in codes if f"`{c}`" not in PAGE) == []


def test_every_code_is_about_something_that_people_can_read():
    for key in PROBLEM_TEXTS:
        problem = Problem(key)
        if f"`{problem.code}`" in PAGE.partition("stock and certificate sheets")[0]:
            assert problem.kind
