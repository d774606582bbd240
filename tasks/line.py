"""The line to customs as a person opens it."""

from __future__ import annotations

from config.names import Task
from models.links import Line, open_line
from tasks.context import Context


def open_again(context: Context) -> Line:
    """What closed the line is mended: sending goes on, after refusals for the card with one message.

    The submitter is told first: what another card has signed and has not left is made anew. Raises as
    `models.links.open_line`.
    """
    with context.database.write() as session:
        line = open_line(session, context.now(), context.settings.zone)
    context.ring(Task.SIGN)
    context.ring(Task.SEND)
    return line
