"""Certificates that a person chose from the list, as one order: each is to get the forms that it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from models.reads.certificates import CertificateFilter, approved_and_missing
from models.rules.errors import NothingChosen, SelectionTooLarge
from models.rules.language import t
from models.rules.people import Deed, require
from models.rules.requests import Request
from models.rules.states import Action, PagesMode, text_of
from models.writes.calls import Once
from tasks.context import Context
from tasks.orders.intake import Brought, keep_orders

SELECTED_MOST: Final = 10_000
"""Certificates of one order: its rows are written while the person waits, about a second for so many."""


def order_missing(
    context: Context, wanted: CertificateFilter, numbers: Sequence[str] | None, once: Once
) -> int:
    """Keep one order that brings certificates up to their pages (a top-up); gives its batch, to be checked by a worker.

    The approved ones of the filter, or of those only the ones named. Which they are is fixed now, as rows of the batch;
    those that have all their forms are left out and counted there. A certificate whose pages are not known is a row
    with a problem. Raises `MadeBefore`, `NothingChosen`, `SelectionTooLarge`, `NotAllowed`.
    """
    require(context.actor, Deed.ORDER_CONFIRMED)
    if numbers is not None and len(numbers) > SELECTED_MOST:
        raise SelectionTooLarge(limit=SELECTED_MOST)
    with context.database.read() as session:
        chosen, missing = approved_and_missing(session, wanted, numbers, SELECTED_MOST + 1)
    if chosen > SELECTED_MOST:
        raise SelectionTooLarge(limit=SELECTED_MOST)
    if not missing:
        raise NothingChosen(complete=chosen)
    orders = [
        {
            "certificate": one.certificate,
            "action": text_of(Action.VERIFY).zh,  # the same order is the same in every language
            "page_count": "" if one.pages is None else str(one.pages),
        }
        for one in missing
    ]
    name = t(f"所选证书 {chosen} 份", f"{chosen} certificates chosen")
    described = {"chosen": chosen, "complete": chosen - len(missing)}
    brought = Brought(once, Request(pages_mode=PagesMode.TOP_UP))
    return keep_orders(context, orders, brought, name, described)
