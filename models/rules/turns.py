"""Turns: in which order messages are signed and sent. Rules over values, no database.

Every message has a number, its turn, and the lowest goes first. The messages of a batch have turns that
follow each other, from where the line stands when it joins: so batches share card and line message by
message, and one form behind a hundred thousand waits for one message of each batch before it, not for all
of them. Newcomers are spread, a few to a turn: however many single orders come, a large batch goes on.

Within a batch the series of certificates (those of one principal) take turns the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Final, TypeVar

NEWCOMERS_A_TURN: Final = 4
"""Batches that may join at one turn: of five messages one is always of a batch that is there already."""

_SEQUENCE_DIGITS: Final = 4
"""A certificate's number ends with its place in the series of its exporter (rule 7 of how-it-works.md)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turns:
    """Where the line stands."""

    served: int = 0
    """The highest turn that has left; never lower than it was."""
    newest: int = 0
    """Where the last newcomer has joined."""
    newcomers: int = 0
    """How many have joined there."""

    def join(self) -> tuple[int, Turns]:
        """The first turn of a batch that joins now, and where the line stands then."""
        if self.served > self.newest:
            at, there = self.served, 1
        elif self.newcomers < NEWCOMERS_A_TURN:
            at, there = self.newest, self.newcomers + 1
        else:
            at, there = self.newest + 1, 1
        return at, replace(self, newest=at, newcomers=there)

    def go_on(self, following: int) -> int:
        """The next turn of a batch whose messages have all turns below `following`: it does not catch up
        on what it has let pass.
        """
        return max(self.served, following)


def series(certificate: str) -> str:
    """The series that a certificate belongs to: type, year and organisation."""
    return certificate[:-_SEQUENCE_DIGITS]


def by_turns(groups: Iterable[Sequence[T]]) -> Iterator[T]:
    """One of each group, then the next of each, until all are through."""
    nothing = object()
    rounds: Iterator[tuple[T | object, ...]] = zip_longest(*groups, fillvalue=nothing)
    return (one for one in chain.from_iterable(rounds) if one is not nothing)  # type: ignore[misc]
