"""What an event says is hashed as the same bytes for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.chain import (
    GENESIS,
    EventFacts,
    StoredEvent,
    Tamper,
    event_hash,
    event_text,
    examine_chain,
)

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


def history(count):
    """A whole one of so many events; their ids are 10, 20, 30, …"""
    before, events = GENESIS, []
    for number in range(1, count + 1):
        at = datetime(2026, 11, 26, 12, number, tzinfo=UTC)
        facts = EventFacts("B", "211014001", number, "issued", "issued", at, "hold")
        before = event_hash(before, facts)
        events.append(StoredEvent(10 * number, facts, before))
    return events


def forged(event, identity):
    """Another event of the same number, right in itself, that nothing rests on."""
    facts = replace(event.facts, reason="forged")
    return StoredEvent(identity, facts, event_hash("somewhere else", facts))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [True, False])
def test_of_two_events_of_one_number_the_one_is_forged_that_nothing_rests_on(number, before):
    events = history(4)
    real = events[number - 1]
    false = forged(real, real.id - 5 if before else real.id + 5)
    stored = sorted([*events, false], key=lambda e: e.id)
    (flaw,) = examine_chain(stored, 4, events[-1].hash)
    assert (flaw.tamper, flaw.number, flaw.event_id) == (Tamper.INSERTED, number, false.id)


def test_a_history_is_whole_when_the_form_remembers_its_end():
    events = history(3)
    assert examine_chain(events, 3, events[-1].hash) == []
    assert examine_chain([], 0, GENESIS) == []
    assert [f.tamper for f in examine_chain(events, 3, events[0].hash)] == [Tamper.EDITED]
    assert [f.tamper for f in examine_chain(events, 4, events[-1].hash)] == [Tamper.CUT]
    assert [f.tamper for f in examine_chain(events[1:], 3, events[-1].hash)] == [Tamper.REMOVED]
