"""What a program asks for when it brings an order: how far it is to go by itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from models.rules.states import PagesMode


class ConfirmMode(StrEnum):
    """What is confirmed of an order once it is checked, without anybody being asked."""

    NONE = "none"
    VALID = "valid"
    """The rows that are right."""
    ALL = "all"
    """All rows, or none of them."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked with an order. Reasons are kept in the history of the forms."""

    confirm: ConfirmMode = ConfirmMode.NONE
    pages_mode: PagesMode = PagesMode.ADDITIONAL
    at_once: bool = False
    again: str | None = None
    beyond_pages: str | None = None
    key_id: int | None = None
    """The key that it came by: what it may do is looked at again when it is confirmed."""

    def stored(self) -> dict[str, Any]:
        """As kept with the batch."""
        return asdict(self)


def load_request(stored: Mapping[str, Any]) -> Request:
    """A request as `Request.stored` kept it; what else is kept beside it is left out."""
    return Request(
        ConfirmMode(stored["confirm"]),
        PagesMode(stored["pages_mode"]),
        stored["at_once"],
        stored["again"],
        stored["beyond_pages"],
        stored["key_id"],
    )
