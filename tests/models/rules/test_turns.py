"""Turns: nobody waits longer than they explain, however orders come."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from models.rules.turns import NEWCOMERS_A_TURN, Turns, by_turns, series


class Line:
    """A card that signs one message at a time, and batches that come."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.waiting: list[tuple[int, int, int]] = []
        self.served: list[int] = []
        self.following: dict[int, int] = {}
        self.arrived: dict[int, int] = {}

    def come(self, batch: int, messages: int) -> None:
        if batch in self.following:
            first = self.turns.go_on(self.following[batch])
        else:
            first, self.turns = self.turns.join()
            self.arrived[batch] = len(self.served)
        self.following[batch] = first + messages
        self.waiting += [(first + k, len(self.waiting) + k, batch) for k in range(messages)]

    def serve(self) -> None:
        if self.waiting:
            one = min(self.waiting)
            self.waiting.remove(one)
            self.turns = replace(self.turns, served=max(self.turns.served, one[0]))
            self.served.append(one[2])

    def wait_of(self, batch: int) -> int:
        return self.served.index(batch, self.arrived[batch]) - self.arrived[batch]


def test_one_form_behind_a_hundred_thousand_is_next():
    line = Line()
    line.come(1, 100_000 // 100)
    for _ in range(5):
        line.serve()
    line.come(2, 1)
    for _ in range(2):
        line.serve()
    assert 2 in line.served[-2:]


def test_however_many_single_orders_come_a_large_batch_goes_on():
    line = Line()
    line.come(0, 1000)
    for n in range(1, 1001):  # as fast as the card
        line.come(n, 1)
        line.serve()
    assert Counter(line.served)[0] >= 1000 // (NEWCOMERS_A_TURN + 1)


def test_two_large_batches_share_message_by_message():
    line = Line()
    line.come(1, 500)
    for _ in range(100):
        line.serve()
    line.come(2, 500)
    for _ in range(200):
        line.serve()
    later = Counter(line.served[100:])
    assert abs(later[1] - later[2]) <= 1


def test_a_batch_that_let_its_turns_pass_does_not_catch_up():
    line = Line()
    line.come(1, 10)
    line.come(2, 10)
    for _ in range(20):
        line.serve()
    line.come(3, 100)
    for _ in range(50):
        line.serve()
    line.come(1, 10)  # its next messages are made only now
    line.come(4, 1)
    for _ in range(3):
        line.serve()
    assert 4 in line.served[-3:]


@given(
    st.lists(
        st.one_of(
            st.integers(1, 40).map(lambda n: (n, 0)), st.integers(1, 6).map(lambda n: (0, n))
        ),
        max_size=60,
    )
)
def test_nobody_waits_longer_than_the_turns_explain(steps):
    """A newcomer waits for what has its turn or a lower one: of each batch that is there one message a turn,
    and as many turns as the newcomers before it fill.
    """
    line = Line()
    bounds: dict[int, int] = {}
    for batch, (messages, signatures) in enumerate(steps):
        if messages:
            first = [b for b in bounds if b not in line.served]  # nothing of them is signed yet
            line.come(batch, messages)
            turn = line.following[batch] - messages
            before = Counter(b for t, _, b in line.waiting if t <= turn and b != batch)
            turns = turn - line.turns.served + 1
            assert turns <= len(first) // NEWCOMERS_A_TURN + 2
            assert all(count <= turns for count in before.values())
            bounds[batch] = before.total() + NEWCOMERS_A_TURN
        for _ in range(signatures):
            line.serve()
    while line.waiting:
        line.serve()
    for batch, bound in bounds.items():
        assert line.wait_of(batch) <= bound


def test_of_the_series_of_a_batch_each_is_served_in_turn():
    assert list(by_turns([["a1", "a2", "a3"], ["b1"], ["c1", "c2"]])) == [
        *("a1", "b1", "c1"),
        *("a2", "c2"),
        "a3",
    ]


def test_a_certificate_belongs_to_the_series_of_its_exporter():
    assert series("B201026902331597") == series("B201026902330001") != series("B201026902340001")
