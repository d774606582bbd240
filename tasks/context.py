"""What a use case works with: the database, the line to customs, the card, the clock, the bell.

Built once in each process by the composition root (`workers.bootstrap`), after any fork. Use cases
take it as their first argument; only Celery's task functions ask for `current()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

from config.names import Task
from config.settings import Settings
from customs.gateway import CustomsGateway
from customs.signing.signer import Signer
from customs.wire import WireProfile
from models.reads.deployment import Identity
from models.reads.sight import Sight, sight_of
from models.rules.people import SYSTEM, Actor
from models.tables.database import Database
from net.notifier import Notifier
from tasks.journal import Journal


class Bell(Protocol):
    """Says that something may be due. Losing a ring costs one sweep; a ring too many, nothing."""

    def __call__(self, task: Task, *ids: int) -> None: ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Context:
    """The outside world of one process."""

    settings: Settings
    database: Database
    ring: Bell
    open_gateway: Callable[[], CustomsGateway]
    open_signer: Callable[[], Signer]
    open_notifier: Callable[[], Notifier]
    open_wire: Callable[[], WireProfile]
    now: Callable[[], datetime] = field(default=_utc_now)
    actor: Actor = SYSTEM
    """Who asked for what is done: it is kept with every order and act."""
    stopping: Callable[[], bool] = field(default=lambda: False)
    """Whether this process is to end: what takes long begins nothing new."""

    @cached_property
    def gateway(self) -> CustomsGateway:
        """The line to customs, opened at the first use."""
        return self.open_gateway()

    @cached_property
    def wire(self) -> WireProfile:
        """How customs is written to and read; opened at the first use."""
        return self.open_wire()

    @cached_property
    def signer(self) -> Signer:
        """The card, opened at the first signature. Used by the submitter alone."""
        return self.open_signer()

    @cached_property
    def notifier(self) -> Notifier:
        """The line to those who are told, opened at the first use."""
        return self.open_notifier()

    @cached_property
    def journal(self) -> Journal:
        """What was sent, noted outside the database."""
        return Journal(self.settings.journal_file)

    @property
    def sight(self) -> Sight | None:
        """What the actor sees; None: everything."""
        return sight_of(self.actor, self.settings.sender)

    @property
    def identity(self) -> Identity:
        """The sender and the customs of the settings; the database must name the same."""
        return Identity(self.settings.sender, self.settings.customs)

    def close(self) -> None:
        """Give back what was opened."""
        if "gateway" in self.__dict__:
            self.gateway.close()
        if "signer" in self.__dict__:
            self.signer.close()
        if "notifier" in self.__dict__:
            self.notifier.close()
        self.database.close()


_current: list[Context] = []


def use(context: Context) -> None:
    """Make this the context of the process's task functions."""
    _current[:] = [context]


def current() -> Context:
    """The context of this process. Raises RuntimeError when none was set up."""
    if not _current:
        raise RuntimeError("no context: the process was not set up by workers.bootstrap")
    return _current[0]
