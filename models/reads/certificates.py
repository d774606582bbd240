"""Certificates that people ask for (guide 二)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.reads.certificate_use import verified_counts
from models.reads.sight import Sight
from models.rules.plan import CERTIFICATE_APPROVED
from models.tables.certificates import Certificate
from models.tables.forms import Form

CHUNK: Final = 500
LOOKED_THROUGH: Final = 5000
"""Certificates that one page looks through for those that lack forms: a few hundredths of a second."""


@dataclass(frozen=True, slots=True)
class CertificateFilter:
    """Certificates of all types unless filtered (S-10, S-11)."""

    number: str | None = None
    kind: str | None = None
    approved_from: date | None = None
    approved_to: date | None = None
    sight: Sight | None = None

    def conditions(self) -> list[Any]:
        """What they have in common."""
        found = [] if self.sight is None else [self.sight.certificates]
        if self.number is not None:
            found.append(Certificate.number == self.number)
        if self.kind is not None:
            found.append(Certificate.type == self.kind)
        if self.approved_from is not None:
            found.append(Certificate.approved_on >= self.approved_from)
        if self.approved_to is not None:
            found.append(Certificate.approved_on <= self.approved_to)
        return found


def list_certificates(
    session: Session, wanted: CertificateFilter, limit: int, after: str = ""
) -> Iterator[dict[str, Any]]:
    """Certificates by number, those behind `after`, with the forms that they have, and how many of those count as
    pages used (`certificate_use`).
    """
    forms = (
        select(func.count())
        .where(Form.certificate == Certificate.number)
        .correlate(Certificate)
        .scalar_subquery()
    )
    query = (
        select(Certificate, forms.label("forms"))
        .where(*wanted.conditions(), Certificate.number > after)
        .order_by(Certificate.number)
        .limit(limit)
    )
    rows = session.execute(query).all()
    used = verified_counts(session, [certificate.number for certificate, _ in rows])
    for certificate, count in rows:
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
            "used": used.get(certificate.number, 0),
        }


@dataclass(frozen=True, slots=True)
class Lacking:
    """Some of the approved certificates that lack forms; `next` where more may be, behind that number."""

    found: list[dict[str, Any]]
    next: str


def lacking_certificates(
    session: Session, wanted: CertificateFilter, limit: int, after: str = ""
) -> Lacking:
    """Approved certificates that have fewer forms than pages, or whose pages nobody knows. At most `LOOKED_THROUGH`
    are looked through at once.
    """
    found: list[dict[str, Any]] = []
    for _ in range(0, LOOKED_THROUGH, CHUNK):
        some = list(list_certificates(session, wanted, CHUNK, after))
        for one in some:
            after = one["certificate"]
            if one["status"] == CERTIFICATE_APPROVED and one["used"] < (one["pages"] or math.inf):
                found.append(one)
                if len(found) == limit:
                    return Lacking(found, after)
        if len(some) < CHUNK:
            return Lacking(found, "")
    return Lacking(found, after)


def count_approved(session: Session, wanted: CertificateFilter, most: int) -> int:
    """How many of them are approved, counted up to `most`."""
    some = (
        select(Certificate.number)
        .where(*wanted.conditions(), Certificate.status == CERTIFICATE_APPROVED)
        .limit(most)
    )
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


@dataclass(frozen=True, slots=True)
class Missing:
    """An approved certificate whose forms are not all there, or nobody knows."""

    certificate: str
    pages: int | None


def approved_and_missing(
    session: Session, wanted: CertificateFilter, numbers: Sequence[str] | None, most: int
) -> tuple[int, list[Missing]]:
    """Of the approved ones, or of those named: how many there are, up to `most`, and which of them have fewer
    forms verified or under way than pages.
    """
    query = (
        select(Certificate.number, Certificate.pages)
        .where(*wanted.conditions(), Certificate.status == CERTIFICATE_APPROVED)
        .order_by(Certificate.number)
        .limit(most)
    )
    if numbers is not None:
        query = query.where(Certificate.number.in_(numbers))
    found = session.execute(query).all()
    used = verified_counts(session, [number for number, pages in found if pages is not None])
    return len(found), [
        Missing(number, pages)
        for number, pages in found
        if pages is None or used.get(number, 0) < pages
    ]
