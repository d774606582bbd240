"""Customs' lists, walked page by page: each record is examined, and what breaks the contract is set aside.

One bad record, page or holder keeps no other one back; each is raised for a person, once while it is
open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

import structlog
from sqlalchemy import select

from customs.gateway import CustomsCertificate, CustomsForm
from customs.records import SetAside, examine_certificates, examine_forms
from models.reads.customs_list import Key
from models.rules.errors import AnswerTooLarge, GatewayUnreachable, ListRefused
from models.tables.bulk import insert_rows
from models.tables.discrepancies import Discrepancy
from tasks.context import Context

log = structlog.get_logger(__name__)

T = TypeVar("T")

FORMS_A_PAGE: Final = 5000
CERTIFICATES_A_PAGE: Final = 1000
"""The most the contract gives."""

_NAMED: Final = 12
"""Records named in one discrepancy; the others are counted."""


@dataclass(frozen=True, slots=True)
class FormPage:
    """A page of customs' forms, examined; `cursor` is where the next one begins, None at the end."""

    forms: Sequence[CustomsForm]
    aside: Sequence[SetAside]
    cursor: str | None
    ends_at: Key | None
    """Its last form, None when that cannot be read: then nobody knows yet where the page ends."""


def form_page(context: Context, holder: str, cursor: str) -> FormPage:
    """One page of a holder's forms, by half the limit while it is too large.

    Raises `ListRefused` when customs does not give it or it is not ascending, `GatewayUnreachable` when
    customs does not answer.
    """
    records, following = _smaller_pages(
        lambda limit: context.gateway.forms(holder, cursor, limit), FORMS_A_PAGE
    )
    if following is not None and following in {cursor, ""}:
        raise ListRefused(detail="/forms: next does not move")
    forms, aside = examine_forms(records)
    keys = [(f.serial, f.form_type) for f in forms]
    if any(second <= first for first, second in pairwise(keys)):
        raise ListRefused(detail="/forms: not ascending by serial and type")
    # what is set aside is believed in nothing, not even in where it stands
    ends_at = keys[-1] if forms and forms[-1] is records[-1] else None
    return FormPage(forms, aside, following, ends_at)


def form_pages(context: Context, holder: str) -> Iterator[FormPage]:
    """All pages of a holder's forms, what is set aside raised at their end. Raises as `form_page`."""
    aside: list[SetAside] = []
    cursor: str | None = ""
    last = ("", "")
    try:
        while cursor is not None:
            page = form_page(context, holder, cursor)
            if page.forms:
                first = (page.forms[0].serial, page.forms[0].form_type)
                if first <= last:
                    raise ListRefused(detail="/forms: not ascending by serial and type")
                last = (page.forms[-1].serial, page.forms[-1].form_type)
            aside += page.aside
            yield page
            cursor = page.cursor
    finally:
        raise_set_aside(context, aside_in_words("/forms", holder, aside))


def certificate_pages(context: Context, enterprise: str) -> Iterator[list[CustomsCertificate]]:
    """All certificates of an enterprise, page by page. Raises `ListRefused`, `GatewayUnreachable`."""
    aside: list[SetAside] = []
    seen: set[str] = set()
    cursor: str | None = ""
    try:
        while cursor is not None:
            seen.add(cursor)
            listed, cursor = _smaller_pages(
                partial(_certificates, context, enterprise, cursor), CERTIFICATES_A_PAGE
            )
            if cursor in seen:
                raise ListRefused(detail="/certificates: next does not move")
            good, bad = examine_certificates(listed)
            aside += bad
            yield good
    finally:
        raise_set_aside(context, aside_in_words("/certificates", enterprise, aside))


def _certificates(
    context: Context, enterprise: str, cursor: str, limit: int
) -> tuple[Sequence[CustomsCertificate], str | None]:
    return context.gateway.certificates(enterprise, cursor, limit)


def _smaller_pages(ask: Callable[[int], T], limit: int) -> T:
    """A page, by half the limit while it is too large. Raises `ListRefused` for one record that is."""
    while True:
        try:
            return ask(limit)
        except AnswerTooLarge as error:
            if limit == 1:
                raise ListRefused(**error.values) from error
            limit //= 2


def aside_in_words(path: str, of: str, aside: Sequence[SetAside]) -> list[str]:
    """What was set aside of one list, a line for each field that was wrong."""
    by_field: dict[str, list[str]] = defaultdict(list)
    for record in aside:
        by_field[record.field].append(record.about)
    return [f"{path} {of}: {field}: {_named(about)}" for field, about in by_field.items()]


def _named(about: Sequence[str]) -> str:
    named = " ".join(one or "?" for one in about[:_NAMED])
    return named if len(about) <= _NAMED else f"{named} … ({len(about)})"


def raise_refused(context: Context, of: str, error: GatewayUnreachable) -> None:
    """A list that customs does not give is a person's matter; the others go on."""
    detail = str(error.values.get("detail"))
    log.error("list_refused", of=of, detail=detail)
    raise_set_aside(context, [f"{of}: {detail}"])


def raise_set_aside(context: Context, details: Sequence[str]) -> None:
    """Raise each for a person, unless it is open already."""
    if not details:
        return
    wanted = {d[:400] for d in details}
    with context.database.write() as session:
        known = set(
            session.scalars(
                select(Discrepancy.detail).where(
                    Discrepancy.kind == LIST_KIND,
                    Discrepancy.closed_at.is_(None),
                    Discrepancy.detail.in_(wanted),
                )
            )
        )
        rows = [
            {"kind": LIST_KIND, "detail": detail, "raised_at": context.now()}
            for detail in sorted(wanted - known)
        ]
        insert_rows(session, Discrepancy, rows)
    for row in rows:
        log.error("list_set_aside", detail=row["detail"])


LIST_KIND: Final = "customs_list"
