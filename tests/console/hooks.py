"""Loaded by schemathesis: what fits the description is never refused as not fitting it."""

from __future__ import annotations

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, Response


@schemathesis.check
def what_fits_is_not_called_unfitting(
    _context: CheckContext, response: Response, case: Case
) -> None:
    if case.meta and case.meta.generation.mode == GenerationMode.POSITIVE:
        refused = response.status_code == 422 and response.json()["code"] == "not_as_described"
        assert not refused, "a call that fits the description was refused as not fitting"
