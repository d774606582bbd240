"""What two books may say of a form, as a table; the forecast and the stocktake as tables too."""

from __future__ import annotations

from datetime import date

import pytest

from models.reads.customs_list import differing
from models.rules.differences import TREATMENTS, DifferenceClass, classify
from models.rules.forecast import forecast, working_day_after
from models.rules.states import FormState
from models.rules.stocktake import BookedForm, sort_out
from tasks.night.repair_actions import ACTIONS

HAVE, R, VS, V, ZS, Z = (
    FormState.ISSUED,
    FormState.RESERVED,
    FormState.VERIFY_SUBMITTED,
    FormState.VERIFIED,
    FormState.VOID_SUBMITTED,
    FormState.VOIDED,
)
C = DifferenceClass


@pytest.mark.parametrize(
    ("state", "certificate", "there", "certificate_there", "expected"),
    [
        (HAVE, None, "1", None, None),
        (HAVE, None, "2", "B1", C.OUTSIDE),
        (HAVE, None, "3", "B1", C.OUTSIDE),
        (HAVE, None, None, None, C.UNKNOWN_AT_CUSTOMS),
        (HAVE, None, "0", None, C.UNKNOWN_AT_CUSTOMS),
        (HAVE, None, "7", None, C.CONTRADICTION),
        (R, "B1", "1", None, None),
        (R, "B1", "2", "B1", C.OUTSIDE),
        (VS, "B1", "1", None, None),
        (VS, "B1", "2", "B1", C.LAGGING),
        (VS, "B1", "2", "B2", C.CONTRADICTION),
        (VS, "B1", "3", "B1", C.CONTRADICTION),
        (ZS, "B1", "3", "B1", C.LAGGING),
        (ZS, "B1", "2", "B1", C.CONTRADICTION),
        (ZS, "B1", "1", None, None),
        (V, "B1", "2", "B1", None),
        (V, "B1", "2", None, None),
        (V, "B1", "2", "B2", C.CONTRADICTION),
        (V, "B1", "1", None, C.CONTRADICTION),
        (V, "B1", "3", "B1", C.CONTRADICTION),
        (V, "B1", None, None, C.UNKNOWN_AT_CUSTOMS),
        (Z, "B1", "3", "B1", None),
        (Z, "B1", "2", "B1", C.CONTRADICTION),
        (None, None, "1", None, C.NEW_STOCK),
        (None, None, "2", "B1", None),
        (None, None, "3", "B1", None),
        (None, None, "0", None, None),
    ],
)
def test_every_pair_of_books_has_its_class(state, certificate, there, certificate_there, expected):
    assert classify(state, certificate, there, certificate_there) is expected


def test_every_class_has_a_default_action_and_somebody_who_acts():
    """What two persons must want has no action of its own; every other one has, and says so in both languages."""
    assert TREATMENTS.keys() == set(DifferenceClass)
    two_persons = {kind for kind, treatment in TREATMENTS.items() if treatment.two_persons}
    assert two_persons == {C.CONTRADICTION}
    assert ACTIONS.keys() == set(DifferenceClass) - two_persons
    for treatment in TREATMENTS.values():
        for said in (treatment.name, treatment.action, treatment.actor):
            assert said.zh.strip()
            assert said.en.strip()
    assert len({t.name.zh for t in TREATMENTS.values()}) == len(DifferenceClass)
    assert len(set(ACTIONS.values())) == len(ACTIONS)


def test_lines_that_are_alike_are_not_looked_at():
    ours = ["1|B|1|", "2|B|2|C1", "3|B|1|"]
    theirs = ["1|B|1|", "2|B|2|C2", "4|B|1|"]
    assert differing(ours, theirs) == {("2", "B"), ("3", "B"), ("4", "B")}


@pytest.mark.parametrize(
    ("weeks", "on_hand", "queued", "days_left", "ask_for"),
    [
        ([], 40, 0, None, 0),
        ([0, 0, 0, 0], 40, 0, None, 0),
        ([70], 40, 0, 4, 660),  # 10 a day: 4 days; 70 days' use asked for
        ([70, 0, 0, 0], 40, 0, 10, 240),  # 4 a day, recent weeks weigh more
        ([0, 0, 0, 70], 40, 0, 40, 30),  # 1 a day
        ([70], 40, 30, 1, 690),  # queued batches are counted
        ([70], 0, 30, 0, 730),
        ([], 0, 5, 0, 5),
    ],
)
def test_how_long_a_stock_lasts(weeks, on_hand, queued, days_left, ask_for):
    today = date(2026, 11, 25)
    said = forecast(weeks, on_hand, queued, today, lead_days=10, cover_days=60)
    assert (said.days_left, said.ask_for) == (days_left, ask_for)


def test_five_working_days_leave_the_week_end_out():
    assert working_day_after(date(2026, 11, 25), 5) == date(2026, 12, 2)
    assert working_day_after(date(2026, 11, 28), 1) == date(2026, 11, 30)


def test_a_stocktake_puts_every_serial_on_one_pile_and_adds_up():
    book = [
        BookedForm("1", "B", HAVE, lost=False),
        BookedForm("2", "B", HAVE, lost=False),
        BookedForm("3", "B", VS, lost=False),
        BookedForm("4", "B", V, lost=False),
        BookedForm("5", "B", HAVE, lost=True),
        BookedForm("6", "B", Z, lost=False),
    ]
    found = sort_out(["1", "3", "4", "5", "9", "1"], book)
    assert {k: v for k, v in found.piles.items() if v} == {
        "matched": ["1"],
        "missing": ["2"],
        "in_use": ["3"],
        "final_here": ["4"],
        "found": ["5"],
        "unexpected": ["9"],
    }
    assert (found.counted, found.expected, found.repeated) == (5, 2, ["1"])
    assert found.adds_up
