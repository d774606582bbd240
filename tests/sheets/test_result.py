"""Whatever a cell says, a result sheet says it as text: no program runs it."""

from __future__ import annotations

import csv

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sheets.result import RESULT, Line, write_lines

_INJECTION = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""What begins a formula in one spreadsheet program or another: not the product's own list."""

CELL = st.sampled_from(_INJECTION).flatmap(
    lambda start: st.text(max_size=12).map(lambda t: start + t)
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(CELL, CELL, CELL)
def test_no_cell_of_a_csv_begins_as_a_formula_does(tmp_path, title, own, result):
    path = tmp_path / "r.csv"
    write_lines(
        path, 1, [title], [Line(2, [own], [result], frozenset(), refused=False)], RESULT.columns
    )
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(line.replace("\0", "0") for line in file))
    cells = [cell for row in rows for cell in row]
    assert [c for c in cells if c.startswith(_INJECTION)] == []


@pytest.mark.parametrize("start", _INJECTION)
def test_no_cell_of_an_xlsx_is_a_formula(tmp_path, start):
    path = tmp_path / "r.xlsx"
    row = Line(
        2, [f"{start}1+1", f"{start}HYPERLINK(1)"], [f"{start}x"], frozenset({0}), refused=True
    )
    write_lines(path, 1, [f"{start}title", "b"], [row], RESULT.columns)
    book = openpyxl.load_workbook(path)
    types = {c.data_type for r in book.active.iter_rows() for c in r if c.value is not None}
    assert types == {"s"}
