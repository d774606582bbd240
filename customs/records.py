"""Records of customs' lists, examined one by one (contract sections 2 and 5). Pure: standard library alone.

What a gateway lists is taken as it came, of whatever type; here each record is held against the
contract, and one that breaks it is set aside with its reason. The others are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, TypeVar

from customs.gateway import CustomsCertificate, CustomsForm
from models.rules.verdicts import CustomsState

_SERIAL: Final = re.compile("[0-9A-Z]{6,12}")
_LETTERS: Final = re.compile("[A-Z]{1,2}")
_CERTIFICATE: Final = re.compile("[A-Z]{1,2}[0-9]{2}[0-9A-Z]{9}[0-9]{4}")
_ENTERPRISE: Final = re.compile("[0-9A-Z]{18}")
_STATUSES: Final = frozenset({"approved", "revoked"})

MOST_PAGES: Final = 10_000
"""Pages of one certificate: more is no number of pages."""

Record = TypeVar("Record", CustomsForm, CustomsCertificate)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that breaks the contract: the field that does, and what it is about where that can be read."""

    field: str
    about: str
    form: tuple[str, str] | None = None
    """Serial and type of a form, when both can be read."""


def examine_forms(
    records: Sequence[CustomsForm],
) -> tuple[list[CustomsForm], list[SetAside]]:
    """Those that keep the contract, in their order, and those that do not."""
    return _sorted_out(records, _wrong_in_form, _about_form)


def examine_certificates(
    records: Sequence[CustomsCertificate],
) -> tuple[list[CustomsCertificate], list[SetAside]]:
    """Those that keep the contract, in their order, and those that do not."""
    return _sorted_out(
        records,
        _wrong_in_certificate,
        lambda c, field: SetAside(field, _readable(c.number, _CERTIFICATE)),
    )


def _sorted_out(
    records: Sequence[Record],
    wrong: Callable[[Record], str],
    about: Callable[[Record, str], SetAside],
) -> tuple[list[Record], list[SetAside]]:
    good: list[Record] = []
    aside: list[SetAside] = []
    for record in records:
        if field := wrong(record):
            aside.append(about(record, field))
        else:
            good.append(record)
    return good, aside


def _wrong_in_form(form: CustomsForm) -> str:
    """The field that breaks the contract; "" when none does."""
    if not _is(form.serial, _SERIAL):
        return "serialNo"
    if not _is(form.form_type, _LETTERS):
        return "formType"
    if not isinstance(form.state, CustomsState):
        return "state"
    if form.certificate is not None and not _is(form.certificate, _CERTIFICATE):
        return "certNo"
    if not _is_day(form.issued_on):
        return "issuedOn"
    return "" if _is_moment(form.updated_at) else "updatedAt"


def _wrong_in_certificate(certificate: CustomsCertificate) -> str:
    if not _is(certificate.number, _CERTIFICATE):
        return "certNo"
    begins = re.match("[A-Z]+", certificate.number)
    if begins is None or certificate.type != begins[0]:
        return "certType"
    if not _is(certificate.exporter, _ENTERPRISE):
        return "ciqRegNo"
    if not _is(certificate.agent, _ENTERPRISE):
        return "aplRegNo"
    if not _is_day(certificate.approved_on):
        return "approvedOn"
    pages = certificate.pages
    if pages is not None and (type(pages) is not int or not 0 < pages <= MOST_PAGES):
        return "pages"
    known = isinstance(certificate.status, str) and certificate.status in _STATUSES
    return "" if known else "status"


def _about_form(form: CustomsForm, field: str) -> SetAside:
    serial = _readable(form.serial, _SERIAL)
    form_type = _readable(form.form_type, _LETTERS)
    return SetAside(field, serial, (serial, form_type) if serial and form_type else None)


def _readable(value: object, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def _is(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_day(value: object) -> bool:
    return value is None or (isinstance(value, date) and not isinstance(value, datetime))


def _is_moment(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False
