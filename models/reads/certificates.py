"""Certificates that people ask for (guide 二)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.reads.sight import Sight
from models.tables.certificates import Certificate
from models.tables.forms import Form


def list_certificates(
    session: Session,
    number: str | None,
    kind: str | None,
    approved_from: date | None,
    approved_to: date | None,
    limit: int,
    after: str = "",
    sight: Sight | None = None,
) -> Iterator[dict[str, Any]]:
    """Certificates of all types unless filtered (S-10, S-11), by number, those behind `after`, with the forms
    that they have.
    """
    forms = (
        select(func.count())
        .where(Form.certificate == Certificate.number)
        .correlate(Certificate)
        .scalar_subquery()
    )
    query = select(Certificate, forms.label("forms")).order_by(Certificate.number).limit(limit)
    if sight is not None:
        query = query.where(sight.certificates)
    if after:
        query = query.where(Certificate.number > after)
    if number is not None:
        query = query.where(Certificate.number == number)
    if kind is not None:
        query = query.where(Certificate.type == kind)
    if approved_from is not None:
        query = query.where(Certificate.approved_on >= approved_from)
    if approved_to is not None:
        query = query.where(Certificate.approved_on <= approved_to)
    for certificate, count in session.execute(query):
        yield {
            "certificate": certificate.number,
            "type": certificate.type,
            "exporter": certificate.exporter,
            "agent": certificate.agent,
            "handling": "self" if certificate.exporter == certificate.agent else "agent",
            "approved_on": certificate.approved_on.isoformat() if certificate.approved_on else None,
            "pages": certificate.pages,
            "status": certificate.status,
            "forms": count,
        }
