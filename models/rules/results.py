"""What became of one row of a sheet: a value, as result sheets, commands and programs are told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.rules.problems import Problem
from models.rules.serials import show_serials
from models.rules.states import Action, FormState, RowOutcome, RowStatus

_UNUSED = (FormState.ISSUED, FormState.RESERVED)


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row: what it asked, and what became of it."""

    batch_id: int
    number: int
    status: RowStatus
    outcome: RowOutcome
    certificate: str
    action: Action | None
    reference: str
    cells: Sequence[str]
    serial_list: Sequence[str]
    form_states: Sequence[FormState]
    problems: Sequence[Problem]
    bad_columns: frozenset[int]
    """Columns of the person's sheet, zero-based, that a problem is about."""

    @property
    def serials(self) -> str:
        """The row's serials in short form."""
        return show_serials(self.serial_list)

    @property
    def used_serials(self) -> str:
        """Those that were used: at customs, or decided there."""
        pairs = zip(self.serial_list, self.form_states, strict=True)
        return show_serials(s for s, state in pairs if state not in _UNUSED)

    def document(self) -> dict[str, Any]:
        """For programs."""
        states = zip(self.serial_list, self.form_states, strict=True)
        return {
            "row": self.number,
            "status": self.status.value,
            "outcome": self.outcome.value,
            "certificate": self.certificate,
            "action": self.action.value if self.action else None,
            "reference": self.reference,
            "serials": list(self.serial_list),
            "forms": [{"serial": serial, "state": state.value} for serial, state in states],
            "reason": "; ".join(p.message for p in self.problems),
            "problems": [p.shown() for p in self.problems],
        }
