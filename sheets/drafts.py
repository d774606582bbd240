"""A row of an order sheet as it was read, and its way out of the sandbox. Pure: standard library alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.rules.problems import Problem, load_problem
from models.rules.states import Action, PagesMode, RowStatus, StockSource


@dataclass(slots=True)
class RowDraft:
    """A row as read: what it demands, and what is wrong with how it says so."""

    number: int
    cells: list[str]
    status: RowStatus = RowStatus.OK
    certificate: str = ""
    action: Action | None = None
    source: StockSource | None = None
    page_count: int | None = None
    pages_mode: PagesMode = PagesMode.ADDITIONAL
    reason_code: str | None = None
    reason_text: str | None = None
    reference: str = ""
    serials: list[tuple[str, Action]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def packed(self) -> list[Any]:
        """The row as plain JSON values, for the way out of the sandbox."""
        return [
            *(self.number, self.cells, self.status, self.certificate, self.action, self.source),
            *(self.page_count, self.pages_mode, self.reason_code, self.reason_text),
            *(self.reference, self.serials, [p.stored() for p in self.problems]),
        ]


def unpacked(values: Sequence[Any]) -> RowDraft:
    """A row as `RowDraft.packed` gave it."""
    number, cells, status, certificate, action, source, pages, mode, *rest = values
    reason_code, reason_text, reference, serials, problems = rest
    return RowDraft(
        number=number,
        cells=cells,
        status=RowStatus(status),
        certificate=certificate,
        action=Action(action) if action else None,
        source=StockSource(source) if source else None,
        page_count=pages,
        pages_mode=PagesMode(mode),
        reason_code=reason_code,
        reason_text=reason_text,
        reference=reference,
        serials=[(serial, Action(what)) for serial, what in serials],
        problems=[load_problem(p) for p in problems],
    )
