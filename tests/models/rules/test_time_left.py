"""How long a batch still takes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.rules.forecast import minutes_left


@pytest.mark.parametrize(
    ("done", "left", "seconds", "minutes"),
    [(0, 100, 60, None), (100, 0, 60, None), (10, 10, 0, None), (250, 250, 60, 1), (250, 251, 60, 2), (1, 5000, 1, 84)],
)  # fmt: skip
def test_the_rest_takes_as_long_as_its_rate_says(done, left, seconds, minutes):
    assert minutes_left(done, left, timedelta(seconds=seconds)) == minutes
