"""The chain of the log of acts: each hash is over the act and the hash before it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ActFacts:
    """Everything that an act says, as it is hashed. `number` counts all acts from 1."""

    number: int
    at: datetime
    actor: str
    channel: str
    person_id: int | None
    deed: str
    about: str
    detail: Mapping[str, Any]


def act_hash(before: str, act: ActFacts) -> str:
    """SHA-256 (hex) of an act that follows the act with the hash `before` ("" for the first)."""
    said = [
        before,
        act.number,
        act.at.astimezone(UTC).isoformat(timespec="microseconds"),
        act.actor,
        act.channel,
        act.person_id,
        act.deed,
        act.about,
        act.detail,
    ]
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def first_flaw(acts: Iterable[tuple[ActFacts, str]]) -> int | None:
    """The number of the first act that is missing or not as it was written; None when the log is whole.

    `acts` are all of them in the order of their numbers. That the last ones were cut off is not seen here.
    """
    before, expected = "", 1
    for act, stored in acts:
        if act.number != expected or act_hash(before, act) != stored:
            return expected
        before, expected = stored, expected + 1
    return None
