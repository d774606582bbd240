"""Which suggestions can be taken by a click: those that stand for all that a cell says."""

from __future__ import annotations

import pytest

from models.rules.problems import Problem
from sheets.corrections import Correction, by_row, corrected, place_of, suggested


@pytest.mark.parametrize(
    ("cell", "place"),
    [("A1", (1, 0)), ("C12", (12, 2)), ("AA7", (7, 26)), ("ZZZ9", (9, 18277)), ("c12", None), ("12", None),
     ("A0", None), ("A1:B2", None), ("", None), ("A12345678", None)],
)  # fmt: skip
def test_a_cell_has_a_place(cell, place):
    assert place_of(cell) == place


@pytest.mark.parametrize(
    ("written", "value", "suggestion", "taken"),
    [
        ("211014009-211014005", "211014009-211014005", "211014005-211014009", True),
        (" 11013201 ", "11013201", "011013201", True),
        ("21101320l", "21101320l", "211013201", True),
        ("21101320l, 211013205", "21101320l", "211013201", False),  # a part of the cell alone
        ("211013209", "211013209-211013201", "211013201-211013209", False),  # of two cells together
        ("anything", "anything", "", False),
    ],
)
def test_a_suggestion_is_offered_where_it_stands_for_the_whole_cell(
    written, value, suggestion, taken
):
    problem = Problem("range_reversed", "serial", "", "B5", suggestion, {"value": value})
    found = list(suggested(["x", written], [problem]))
    assert found == ([Correction("B5", written, suggestion)] if taken else [])


def test_a_problem_of_no_cell_or_of_one_that_is_not_there_offers_nothing():
    for cell in ("", "Z5"):
        assert not list(
            suggested(["a"], [Problem("serial_malformed", "", "", cell, "b", {"value": "a"})])
        )


def test_the_row_is_read_with_the_new_texts_and_what_was_there_is_kept():
    texts = by_row({"B5": "211013201", "D5": "x", "A6": "y", "?": "z"})
    assert texts == {5: {1: "211013201", 3: "x"}, 6: {0: "y"}}
    assert corrected(5, ["c", 11013201.0, None], texts[5]) == (
        ["c", "211013201", None],
        [Correction("B5", "11013201", "211013201")],
    )
