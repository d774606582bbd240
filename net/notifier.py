"""The port to those who are told: what is sent, and every way it can end."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Letter:
    """One notification on its way to one endpoint. `secrets`: several while one replaces another."""

    url: str
    key: str
    timestamp: int
    body: bytes
    secrets: Sequence[str]

    def __repr__(self) -> str:
        return f"Letter({self.url!r}, {self.key!r})"  # never the secrets


@dataclass(frozen=True, slots=True)
class Told:
    """The endpoint took it (2xx)."""

    status: int


@dataclass(frozen=True, slots=True)
class NotTold:
    """It did not, or nobody can say: to be told again. `status` None: no answer."""

    detail: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """410: the endpoint wants nothing any more."""


Ending = Told | NotTold | Gone


class Notifier(Protocol):
    """The line to endpoints. Nothing is tried twice here; the schedule is the caller's."""

    def start(self, token: Hashable, letter: Letter) -> None:
        """Begin to tell; returns at once."""

    def completed(self, most: int, wait: float) -> list[tuple[Hashable, Ending]]:
        """What has ended, by the caller's tokens; nothing when `wait` seconds pass before."""

    def close(self) -> None:
        """Give back the connections."""
