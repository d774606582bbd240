"""A person does not want to wait (刷新): what the processes would do in time is done now, in its order."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.context import Context
from tasks.messages import asking
from tasks.receipts import adopting, applying, inbox


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How much there was: new receipts, receipts applied, messages asked about, forms settled by customs' list."""

    new: int
    applied: int
    asked: int
    adopted: int


def refresh(context: Context, certificate: str | None = None) -> Refreshed:
    """Fetch receipts and apply them, ask about what is in doubt (of a certificate: about all of it), ask
    customs' list where it must say.

    Raises `GatewayUnreachable`; what was done until then stays. Done twice it finds what came meanwhile.
    """
    new = inbox.poll(context)
    applied = 0
    while count := applying.apply(context):
        applied += count
    asked = asking.ask(context, certificate)
    return Refreshed(new, applied, asked, adopting.adopt(context))
