"""Serials as people write them (shared data, cell_traps.csv)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.numbers import NotACertificateNumber, is_enterprise_code, parse_certificate_number
from models.rules.serials import (
    NotSerials,
    as_ranges,
    parse_serials,
    predecessor,
    serials_between,
    show_serials,
    successor,
)

EIGHT = [f"21101320{n}" for n in range(1, 9)]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (211013201, ["211013201"]),
        (211013201.0, ["211013201"]),
        ("211013201.0", ["211013201"]),
        ("　211013201 ", ["211013201"]),
        ("\ufeff211013201\u200b", ["211013201"]),
        ("２１１０１３２０１", ["211013201"]),
        ("211013201-211013208", EIGHT),
        *[(f"211013201{mark}211013208", EIGHT) for mark in "～－–—~〜至到"],
        ("211013201..211013208", EIGHT),
        ("211013201 － 211013208", EIGHT),
        ("211013201-08", EIGHT),
        ("211013209+4", ["211013209", "211013210", "211013211", "211013212"]),
        ("211013201、211013203；211013205", ["211013201", "211013203", "211013205"]),
        ("211013201，211013203\n211013205", ["211013201", "211013203", "211013205"]),
        ("211013201 211013203/211013205", ["211013201", "211013203", "211013205"]),
        ("ab0012345", ["AB0012345"]),
        ('="091234567"', ["091234567"]),
        ("'091234567", ["091234567"]),
        ("091234567", ["091234567"]),
    ],
)
def test_a_cell_names_its_serials(cell, expected):
    assert parse_serials(cell) == expected


@pytest.mark.parametrize(
    ("cell", "code", "suggestion"),
    [
        ("211013208-211013201", "range_reversed", "211013201-211013208"),
        ("211013201-221013201", "range_too_long", ""),
        ("211013201+501", "range_too_long", ""),
        ("2.11013E+08", "serial_digits_lost", ""),
        (1.5, "serial_digits_lost", ""),
        (10**16, "serial_digits_lost", ""),
        (91234567, "serial_leading_zero", "091234567"),
        ("21l0l3201", "serial_malformed", "211013201"),
        ("2110132O1", "serial_malformed", "211013201"),
        ("流水号", "serial_malformed", ""),
        ("211013201-", "serial_malformed", ""),
        ("211013201-AB1013208", "serial_malformed", ""),
        (-211013201, "serial_malformed", ""),
    ],
)
def test_a_cell_that_is_not_certain_is_refused(cell, code, suggestion):
    with pytest.raises(NotSerials) as refused:
        parse_serials(cell)
    assert (refused.value.code, refused.value.suggestion) == (code, suggestion)


@given(st.text(max_size=40))
def test_any_text_gives_serials_or_says_why_not(text):
    try:
        serials = parse_serials(text)
    except NotSerials as refused:
        assert refused.code
    else:
        assert serials


@given(st.integers(0, 10**9 - 600), st.integers(1, 400))
def test_ranges_and_lists_say_the_same(first, count):
    serials = serials_between(f"{first:09d}", f"{first + count - 1:09d}")
    assert len(serials) == count
    assert list(as_ranges(reversed(serials))) == [(serials[0], serials[-1])]
    assert parse_serials(show_serials(serials)) == serials


def test_neighbours_keep_the_shape_of_a_serial():
    assert (successor("211013299"), predecessor("211013200")) == ("211013300", "211013199")
    assert (successor("AB9999"), predecessor("AB0000"), successor("ABCDEF")) == ("", "", "")


@pytest.mark.parametrize(
    "text",
    [
        "b201026902331597",
        "Ｂ２０１０２６９０２３３１５９７",
        "B20 102690233 1597",
        '="B201026902331597"',
        "'B201026902331597",
    ],
)
def test_a_certificate_number_is_read_as_it_was_meant(text):
    assert str(parse_certificate_number(text)) == "B201026902331597"


@pytest.mark.parametrize(
    ("text", "code", "old"),
    [
        ("ZJCA33121/050001", "certificate_malformed", True),
        ("B201026902341597", "certificate_check_character", False),
        ("B20102690233", "certificate_malformed", False),
        ("", "certificate_malformed", False),
    ],
)
def test_what_is_no_certificate_number_says_why(text, code, old):
    with pytest.raises(NotACertificateNumber) as refused:
        parse_certificate_number(text)
    assert (refused.value.code, refused.value.old_style) == (code, old)


@pytest.mark.parametrize(
    ("organisation", "character"),
    [("12345677", "X"), ("12345671", "0"), ("10269023", "3"), ("MA6TXQ0D", "1")],
)
def test_the_check_character_of_an_organisation_may_be_x_or_nought(organisation, character):
    others = {str(n) for n in range(10)} | {"X"}
    written = f"B20{organisation}{character}1597"
    assert str(parse_certificate_number(written)) == written
    for other in others - {character}:
        with pytest.raises(NotACertificateNumber):
            parse_certificate_number(f"B20{organisation}{other}1597")


@pytest.mark.parametrize("character", "0123456789ABCDEFGHJKLMNPQRTUWXY")
def test_an_enterprise_code_may_end_in_any_character_of_its_set(character):
    """One of 31 beginnings that differ in the last place alone has this check character (GB 32100)."""
    own = [f"9161000010269023{c}" for c in "0123456789ABCDEFGHJKLMNPQRTUWXY"]
    assert [is_enterprise_code(begun + character) for begun in own].count(True) == 1


def test_enterprise_codes_are_checked():
    assert is_enterprise_code("91610000102690233L")
    assert is_enterprise_code("91610131MA6TXQ0D1U")
    assert not is_enterprise_code("91610000102690233M")
