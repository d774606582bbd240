"""The simulated customs is told what a person brings in: it issued those forms, and approved those certificates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from customs.simulator.ledger import ledger_in
from models.rules.plan import CERTIFICATE_APPROVED
from models.rules.serials import serials_between
from sheets.imports import ISSUED_TOGETHER, CertificateRecord, IssuedRange


def tell_stock(folder: Path, ranges: Iterable[IssuedRange]) -> None:
    """It issued these forms; told twice it knows them once."""
    ledger_in(folder).issue(
        (serial, r.form_type, r.owner, r.issued_on)
        for r in ranges
        for serial in serials_between(r.first_serial, r.last_serial, ISSUED_TOGETHER)
    )


def tell_certificates(folder: Path, records: Iterable[CertificateRecord]) -> None:
    """It approved these certificates."""
    ledger_in(folder).approve(
        (
            r.number,
            r.type,
            r.exporter,
            r.agent,
            r.approved_on.isoformat() if r.approved_on else None,
            r.pages,
            r.status or CERTIFICATE_APPROVED,
        )
        for r in records
    )
