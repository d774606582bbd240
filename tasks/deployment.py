"""The deliberate acts about whose database this is; each is one transaction, and done twice changes nothing."""

from __future__ import annotations

from models.writes import deployment
from tasks.context import Context


def moved(context: Context, customs: str) -> None:
    """The same customs answers at another origin. Raises `BadArgument` for the simulator."""
    with context.database.write() as session:
        deployment.customs_moved(session, customs, context.now())


def confirm(context: Context) -> None:
    """A database from before belongs to the sender and customs of the settings. Raises `AnotherDeployment`."""
    with context.database.write() as session:
        deployment.confirm_identity(session, context.identity, context.now())


def adopt(context: Context) -> None:
    """The sender and customs of the settings, before anything was sent. Raises `CustomsFixed`, `MessagesWait`."""
    with context.database.write() as session:
        deployment.adopt_customs(session, context.identity, context.now())
