"""How soon customs is asked for receipts again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.rules.polling import wait_for_receipts

USUAL = timedelta(seconds=10)


@pytest.mark.parametrize(
    ("awaited_for", "called_back", "seconds"),
    [
        (None, False, 60),
        (None, True, 60),
        (0, False, 1),
        (-5, False, 1),
        (9, False, 1),
        (20, False, 2),
        (3600, False, 10),
        (0, True, 10),
    ],
)
def test_soon_while_something_is_awaited_and_rarely_when_nothing_is(
    awaited_for, called_back, seconds
):
    age = None if awaited_for is None else timedelta(seconds=awaited_for)
    wait = wait_for_receipts(age, USUAL, called_back=called_back)
    assert wait.total_seconds() == seconds


def test_nobody_asks_more_than_once_a_second_whatever_is_set():
    wait = wait_for_receipts(timedelta(0), timedelta(milliseconds=100), called_back=False)
    assert wait.total_seconds() == 1
