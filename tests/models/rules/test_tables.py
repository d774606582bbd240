"""The tables of moves and verdicts, and the pure rule of page counts."""

from __future__ import annotations

import pytest

from customs.profile.bcm1_codes import MEANINGS
from models.rules.plan import AvailableForm, PageDemand, plan_hash, take_pages
from models.rules.problems import PROBLEM_TEXTS
from models.rules.standings import Standing, standing_of, state_of
from models.rules.states import (
    FINAL_FORM_STATES,
    FORM_MOVES,
    LABELS,
    SUBMISSION_MOVES,
    Action,
    BatchState,
    FormState,
    RepairState,
    RowOutcome,
    SubmissionState,
    label,
    text_of,
)
from models.rules.verdicts import CustomsState, Said, Verdict, verdict

STABLE_CODES = set(
    [
        "certificate_unknown",
        "certificate_malformed",
        "certificate_check_character",
        "certificate_not_approved",
        "serial_unknown",
        "serial_not_available",
        "serial_malformed",
        "serial_digits_lost",
        "serial_leading_zero",
        "range_reversed",
        "range_too_long",
        "page_count_invalid",
        "serials_and_pages",
        "nothing_to_do",
        "action_unknown",
        "action_ambiguous",
        "duplicate_in_file",
        "stock_short",
        "stock_source_not_allowed",
        "stock_of_another",
        "type_mismatch",
        "reason_missing",
        "reason_unknown",
        "cell_error",
        "formula_without_value",
    ]
)


def test_nothing_leaves_a_final_state():
    assert not [move for move in FORM_MOVES if move[0] in FINAL_FORM_STATES]
    final = {SubmissionState.DECIDED, SubmissionState.REFUSED, SubmissionState.CANCELLED}
    assert not [move for move in SUBMISSION_MOVES if move[0] in final]


def test_a_form_is_only_submitted_after_it_was_reserved():
    submitted = {FormState.VERIFY_SUBMITTED, FormState.VOID_SUBMITTED}
    assert {a for a, b in FORM_MOVES if b in submitted} == {FormState.RESERVED}


def test_every_state_has_the_portals_word():
    for states in (FormState, BatchState, SubmissionState, Action):
        assert set(states) == LABELS[states].keys()
    assert text_of(FormState.VERIFY_SUBMITTED).zh == "核销提交"


@pytest.mark.parametrize(
    ("hold", "lost", "standing"),
    [
        (False, False, Standing.ON_HAND),
        (True, False, Standing.HELD),
        (False, True, Standing.LOST),
        (True, True, Standing.LOST),
    ],
)
def test_an_issued_form_stands_where_its_paper_is_and_any_other_where_its_state_says(
    hold, lost, standing
):
    for state in FormState:
        found = standing_of(state, hold=hold, lost=lost)
        assert found == (standing if state is FormState.ISSUED else state)
        assert state_of(found) is state


def test_states_of_two_kinds_with_the_same_value_have_their_own_words():
    assert RowOutcome.DONE == RepairState.DONE
    assert (label(RowOutcome.DONE), label(RepairState.DONE)) == ("成功", "已处理")
    assert (label(RowOutcome.REFUSED), label(SubmissionState.REFUSED)) == ("失败", "整份退回")


def test_every_stable_problem_code_has_its_text_in_both_languages():
    assert PROBLEM_TEXTS.keys() >= STABLE_CODES
    assert all(text.zh and text.en for text in PROBLEM_TEXTS.values())


@pytest.mark.parametrize(
    ("code", "state", "action", "expected"),
    [
        ("0000", "2", Action.VERIFY, Verdict.DECIDED),
        ("2101", "0", Action.VERIFY, Verdict.REFUSED_HOLD),
        ("2102", "2", Action.VERIFY, Verdict.ASK),
        ("2102", "3", Action.VERIFY, Verdict.REFUSED_HOLD),
        ("2102", "3", Action.VOID, Verdict.ASK),
        ("2104", "1", Action.VERIFY, Verdict.REFUSED),
        ("2106", "1", Action.VERIFY, Verdict.REFUSED),
        ("2107", "2", Action.VERIFY, Verdict.REFUSED_HOLD),
        ("4001", "1", Action.VOID, Verdict.WAIT),
        ("9999", "2", Action.VERIFY, Verdict.UNKNOWN),
    ],
)
def test_customs_codes_mean_what_the_contract_says(code, state, action, expected):
    assert verdict(MEANINGS.get(code, Said.UNKNOWN), CustomsState(state), action) is expected


def forms(*serials):
    return iter([AvailableForm(n, s) for n, s in enumerate(serials)])


def taken(demands, totals, available):
    return [[f.serial for f in t.forms] for t in take_pages(demands, totals, available)]


def test_the_seed_guides_example_of_gaps():
    demands = [PageDemand(2, "A", 4)]
    assert taken(demands, {}, forms("011", "013", "014", "015", "016")) == [
        ["011", "013", "014", "015"]
    ]


def test_a_short_certificate_does_not_stop_the_next():
    demands = [PageDemand(2, "A", 5), PageDemand(3, "B", 2)]
    assert taken(demands, {}, forms("1", "2", "3")) == [[], ["1", "2"]]


def test_rows_of_one_certificate_are_promised_their_forms_together():
    demands = [PageDemand(2, "A", 1), PageDemand(3, "B", 2), PageDemand(4, "A", 2)]
    assert taken(demands, {"A": 3}, forms("1", "2", "3", "4")) == [["1"], [], ["2", "3"]]


def test_a_plans_hash_depends_on_every_line_and_their_order():
    lines = ["2|B1|verify|211013209|OWNER||", "3|B1|void|211013210|OWNER|01|"]
    assert len({plan_hash(lines), plan_hash(lines[::-1]), plan_hash(lines[:1]), plan_hash([])}) == 4
