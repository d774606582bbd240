"""What an event says is hashed as the same bytes for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from models.rules.chain import GENESIS, EventFacts, event_hash, event_text

texts = st.text(max_size=20)
numbers = st.none() | st.integers(1, 1 << 62)


@given(
    texts,
    st.builds(
        EventFacts,
        *(texts, texts, st.integers(1, 1 << 30), st.none() | texts, texts),
        st.datetimes(timezones=st.just(UTC)),
        *(texts, st.none() | texts, numbers, numbers, numbers, st.none() | texts),
    ),
)
def test_what_is_hashed_is_the_json_that_it_always_was(before, event):
    at = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    said = [
        *(
            before,
            event.form_type,
            event.serial,
            event.number,
            event.from_state,
            event.to_state,
            at,
        ),
        *(event.cause, event.certificate, event.batch_id, event.submission_id, event.inbox_id),
        event.reason,
    ]
    assert event_text(before, event) == json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def test_the_hash_of_an_event_does_not_change():
    """Computed once, by hand: a history of years must go on to fit."""
    at = datetime(2026, 11, 26, 12, 38, 32, 1, tzinfo=UTC)
    event = EventFacts(
        "B", "211014001", 2, "issued", "reserved", at, "reserve", "B201026902331597", 7
    )
    assert event_text(GENESIS, event) == (
        '["","B","211014001",2,"issued","reserved","2026-11-26T12:38:32.000001+00:00","reserve",'
        '"B201026902331597",7,null,null,null]'
    )
    assert event_hash(GENESIS, event) == (
        "571ce6de2ece4963325d0f0ca75447a672d2351a5add939480c149728f41edc8"
    )
