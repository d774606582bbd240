"""Page counts to their limits: how many forms a row gets, past which page it stops, and which forms they are."""

from __future__ import annotations

import pytest

from models.rules.plan import (
    AvailableForm,
    Lifted,
    LiveOrder,
    PageDemand,
    VerifyDemand,
    page_problems,
    take_pages,
)
from models.rules.states import PagesMode

ADD, TOP = PagesMode.ADDITIONAL, PagesMode.TOP_UP
PAST, TWICE, ELSEWHERE = "pages_exceeded", "duplicate_order", "duplicate_order_elsewhere"


def counted(number, forms, mode=ADD, owner="agent", reference=""):
    return VerifyDemand(number, 0, forms, mode, owner, reference or str(number))


def named(number, forms, mode=ADD, reference=""):
    return VerifyDemand(number, forms, None, mode, "agent", reference or str(number))


def judged(pages, had, demands, live=(), lifted=Lifted()):  # noqa: B008 - frozen
    """(codes by row, forms by row)."""
    problems, wanted = page_problems("B1", pages, had, demands, live, lifted)
    return {row: [p.code for p in found] for row, found in problems.items()}, wanted


@pytest.mark.parametrize(
    ("pages", "had", "demands", "problems", "wanted"),
    [
        (16, 0, [counted(2, 16)], {}, {2: 16}),
        (16, 0, [counted(2, 17)], {2: [PAST]}, {}),
        (16, 0, [named(2, 16)], {}, {2: 16}),
        (16, 0, [named(2, 17)], {2: [PAST]}, {}),
        (16, 15, [counted(2, 1)], {}, {2: 1}),
        (16, 16, [counted(2, 1)], {2: [PAST]}, {}),
        (16, 10, [counted(2, 3), named(3, 3)], {}, {2: 3, 3: 3}),
        (16, 10, [counted(2, 3), named(3, 4)], {3: [PAST]}, {2: 3}),
        (16, 10, [counted(2, 7), counted(3, 6)], {2: [PAST]}, {3: 6}),  # what is refused uses none
        (16, 3, [counted(2, 16, TOP)], {}, {2: 13}),
        (16, 3, [counted(2, 17, TOP)], {2: [PAST]}, {}),
        (16, 5, [counted(2, 5, TOP)], {}, {2: 0}),
        (16, 6, [counted(2, 5, TOP)], {}, {2: 0}),
        (16, 0, [named(2, 4, TOP), counted(3, 6, TOP)], {}, {2: 4, 3: 2}),
        (16, 14, [named(2, 3, TOP)], {2: [PAST]}, {}),  # serials are those, and no fewer
        (None, 900, [counted(2, 500)], {}, {2: 500}),
    ],
)
def test_a_row_gets_what_its_certificate_has_pages_for_and_not_one_more(
    pages, had, demands, problems, wanted
):
    assert judged(pages, had, demands) == (problems, wanted)


def test_past_its_pages_a_person_may_let_it_go():
    assert judged(16, 16, [counted(2, 1)], lifted=Lifted(beyond=True)) == ({}, {2: 1})
    assert judged(16, 16, [counted(2, 1)], lifted=Lifted(again=True)) == ({2: [PAST]}, {})


@pytest.mark.parametrize(
    ("pages", "first", "second", "code"),
    [
        (16, counted(2, 3, reference="r"), counted(3, 3, reference="r"), TWICE),
        (16, counted(2, 3, reference="r"), counted(3, 5, reference="r"), TWICE),
        (16, counted(2, 3, reference="r"), counted(3, 3, reference="s"), None),
        (16, counted(2, 3, reference="r"), counted(3, 3, owner="exporter", reference="r"), None),
        (16, counted(2, 3, reference="r"), counted(3, 6, TOP, reference="r"), None),
        (16, named(2, 3, reference="r"), named(3, 3, reference="r"), None),
        (None, named(2, 3, reference="r"), named(3, 3, reference="r"), None),
        (16, named(2, 3, reference="r"), counted(3, 3, reference="r"), None),
        (None, named(2, 3, reference="r"), counted(3, 3, reference="r"), TWICE),
        (None, counted(2, 3, reference="r"), named(3, 3, reference="r"), TWICE),
    ],
)
def test_the_same_order_twice_is_a_question_and_two_orders_are_none(pages, first, second, code):
    expected = {3: [code]} if code else {}
    assert judged(pages, 0, [first, second])[0] == expected
    assert judged(pages, 0, [first, second], lifted=Lifted(again=True))[0] == {}


def test_an_order_of_another_batch_is_named_with_its_batch_and_row():
    live = [LiveOrder(7, 12, counted=True, owner="agent", reference="r")]
    problems, wanted = page_problems("B1", 16, 0, [counted(3, 2, reference="r")], live, Lifted())
    (problem,) = problems[3]
    assert (problem.text_key, problem.code) == (ELSEWHERE, TWICE)
    assert problem.values == {"certificate": "B1", "batch": 7, "row": 12}
    assert wanted == {}


def test_a_row_that_is_past_its_pages_and_the_same_twice_hears_both():
    rows = [counted(2, 10, reference="r"), counted(3, 10, reference="r")]
    assert judged(16, 0, rows) == ({3: [TWICE, PAST]}, {2: 10})


def given(wanted, stock, totals=None):
    """For rows of (certificate, forms): what each gets, or (how many its certificate wants, there are)."""
    demands = [PageDemand(n, certificate, forms) for n, (certificate, forms) in enumerate(wanted)]
    available = iter([AvailableForm(n, str(n)) for n in range(1, stock + 1)])
    return [
        [f.form_id for f in taking.forms]
        if taking.forms or not taking.demand.wanted
        else (taking.certificate_wants, taking.available)
        for taking in take_pages(demands, totals or {}, available)
    ]


@pytest.mark.parametrize(
    ("wanted", "totals", "stock", "expected"),
    [
        ([("A", 3)], {}, 3, [[1, 2, 3]]),
        ([("A", 4)], {}, 3, [(4, 3)]),
        ([("A", 1)], {}, 0, [(1, 0)]),
        ([("A", 0)], {}, 0, [[]]),
        ([("A", 2), ("B", 1)], {}, 3, [[1, 2], [3]]),
        ([("A", 2), ("B", 2)], {}, 3, [[1, 2], (2, 1)]),
        ([("A", 9), ("B", 3)], {}, 3, [(9, 3), [1, 2, 3]]),
        ([("A", 2), ("B", 2), ("C", 1)], {}, 3, [[1, 2], (2, 1), [3]]),
        # a certificate in two rows: all of it or nothing, though one row alone could be met
        ([("A", 1), ("A", 2)], {"A": 3}, 3, [[1], [2, 3]]),
        ([("A", 1), ("A", 2)], {"A": 3}, 2, [(3, 2), (3, 2)]),
        ([("A", 1), ("B", 2), ("A", 2)], {"A": 3}, 2, [(3, 2), [1, 2], (3, 0)]),
        # what is promised to its second row is nobody else's meanwhile
        ([("A", 1), ("B", 1), ("A", 2)], {"A": 3}, 3, [[1], (1, 0), [2, 3]]),
        ([("A", 1), ("B", 1), ("A", 2), ("C", 1)], {"A": 3}, 4, [[1], [2], [3, 4], (1, 0)]),
        # rows of one number in all stand for themselves
        ([("A", 2), ("A", 2)], {}, 3, [[1, 2], (2, 1)]),
    ],
)
def test_the_lowest_forms_in_the_order_of_the_rows_all_of_a_certificate_or_none(
    wanted, totals, stock, expected
):
    assert given(wanted, stock, totals) == expected
