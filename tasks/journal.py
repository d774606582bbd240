"""The send journal: what left this machine, in a file outside the database.

A database that was restored from before, or a standby that missed the last commits, does not know
what customs knows. The journal does: a message's number is in it, on the disk, before the message's
first byte leaves. While one of the latest entries is unknown to the database nothing is reserved,
made into a message, signed or sent, until a person has reconciled and accepted
(`blankforms journal accept`).

What is compared is one number: every claim of messages to send is counted in the database, in the
transaction that commits the intent, and its entries carry that count. Claims are counted one after another,
whoever makes them, so a database that has forgotten any claim is at a lower number than the journal.

Entries are lines: time, number, count of sendings, operation, certificate, claim (older ones have none). A
line that a crash cut short was never sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from sqlalchemy import ColumnElement, Integer, String, exists, func, select, true
from sqlalchemy.orm import Session

from models.rules.errors import DatabaseRestored
from models.tables.bulk import chunks, rows_table
from models.tables.customs_link import CustomsLink
from models.tables.submissions import Attempt, Submission

_LINE: Final = re.compile(
    r"(\S+) ([0-9A-Z]{1,32}) ([0-9]{1,9}) (verify|void) ([0-9A-Z]{1,20})(?: ([0-9]{1,18}))?\n"
)
_ACCEPTED: Final = "# accepted "
_RESTORED: Final = "# restored "
_TAIL_BYTES: Final = 128 << 10
"""About 1,600 entries: three times what two senders have under way (`sending.WINDOW_FACTOR`), so that
the latest claim is among them although another noted later what it had claimed before (with
`SEND_CONCURRENCY` up to 50; beyond that, with one sender)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sending, noted before it was made."""

    at: str
    number: str
    count: int
    action: str
    certificate: str
    claim: int = 0
    """The number of its claim; 0: from before claims were numbered."""


@dataclass(slots=True)
class _Seen:
    """What this process has read of the file."""

    file: tuple[int, int] = (0, 0)
    """Device and inode: another file is read anew."""
    end: int = 0
    """Where the last whole line ended."""
    claim: int = 0
    """The highest number of a claim."""
    restored: bool = False
    """A backup says so itself, and nobody has accepted it."""
    latest: Entry | None = None
    """One of the highest claim, unless it has been accepted."""
    unnumbered: list[Entry] = field(default_factory=list)
    """Those of the last bytes from before claims were numbered, unless accepted."""

    def read(self, lines: Iterable[str]) -> None:
        """Go on reading."""
        for line in lines:
            if line.startswith(_ACCEPTED):
                self.restored, self.latest, self.unnumbered = False, None, []
            elif line.startswith(_RESTORED):
                self.restored = True
            elif match := _LINE.fullmatch(line):
                entry = _entry(match)
                if not entry.claim:
                    self.unnumbered.append(entry)
                elif entry.claim >= self.claim:
                    self.claim, self.latest = entry.claim, entry


class Journal:
    """The file. Several processes may write; a line is one write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = _Seen()

    def note(self, entries: Iterable[Entry]) -> None:
        """Append and wait for the disk: when this returns, the entries outlive the machine."""
        lines = [
            f"{e.at} {e.number} {e.count} {e.action} {e.certificate} {e.claim}\n" for e in entries
        ]
        self._append("".join(lines))

    def unwritable(self) -> str | None:
        """Why nothing can be noted; None when something can."""
        try:
            if self.path.exists():
                self.path.open("ab").close()  # no byte, and no waiting for the disk
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                TemporaryFile(dir=self.path.parent).close()
        except OSError as error:
            return str(error)
        return None

    def begun(self) -> str | None:
        """Make the file before anything is sent, so that it is known later whether it is gone; gives
        why nothing can be noted, None when something can.
        """
        if self.path.exists():
            return self.unwritable()
        try:
            self._append("")
        except OSError as error:
            return str(error)
        return None

    def missing(self, session: Session) -> bool:
        """Whether it is gone: something was sent, and nothing is there that notes it."""
        if self.path.exists():
            return False
        first = session.scalar(select(func.min(Attempt.id)))  # whatever was asked about was sent
        return first is not None

    def accept(self, by: str, now: datetime) -> None:
        """What was noted so far is not compared any more."""
        self._append(f"{_ACCEPTED}{now.isoformat()} {' '.join(by.split())}\n")

    def mark_restored(self, now: datetime) -> None:
        """A backup came back together with this journal: neither knows what was sent since then."""
        self._append(f"{_RESTORED}{now.isoformat()}\n")

    def restored_at(self) -> datetime | None:
        """When a backup came back that nobody has accepted yet."""
        marks = [line for line in self._lines() if line.startswith(_RESTORED)]
        return datetime.fromisoformat(marks[-1].removeprefix(_RESTORED).strip()) if marks else None

    def behind(self, session: Session) -> bool:
        """Whether the database is older than the journal, or a backup says so itself.

        An entry is written after the commit that it tells of, so a database that lost nothing is never at
        a lower number. The latest entry is looked for too: another database may be at any number. To be
        asked before the session reads anything else: on SQLite it sees one moment, from its first look on.
        """
        seen = self._look()
        if seen.restored:
            return True
        if not seen.claim:
            return bool(_unknown(session, seen.unnumbered))
        counted = select(func.max(CustomsLink.claim_number)).scalar_subquery()
        latest = seen.latest
        if latest is None:
            known: ColumnElement[bool] = true()
        else:
            there = (Submission.number == latest.number, Submission.send_count >= latest.count)
            known = exists().where(*there)
        claim, is_known = session.execute(select(counted, known)).one()
        return (claim or 0) < seen.claim or not is_known

    def highest_claim(self) -> int:
        """The number of the latest claim that is noted; 0 when there is none."""
        return self._look().claim

    def require_current(self, session: Session) -> None:
        """Raise `DatabaseRestored` when the database is older than the journal."""
        if self.behind(session):
            raise DatabaseRestored

    def unknown(self, session: Session) -> Iterator[Entry]:
        """Every entry since the last acceptance that the database does not know, oldest first; of a database
        that is older than that acceptance, those before it too.

        Memory: one chunk, however long the journal is.
        """
        claim = session.scalar(select(func.max(CustomsLink.claim_number))) or 0
        again = claim < self._look().claim
        entries = _entries(self._lines(accepted=again))
        for some in chunks(e for e in entries if not again or e.claim > claim):
            yield from _unknown(session, some)

    def _append(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not self.path.exists()
        with open(self.path, "ab+", opener=_private) as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    text = "\n" + text  # behind what a crash cut short
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # a new file's name is on the disk too
            finally:
                os.close(folder)

    def _look(self) -> _Seen:
        """Read what has come since the last look; the last bytes at the first."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return _Seen()
        seen, file = self._seen, (now.st_dev, now.st_ino)
        if seen.file != file or now.st_size < seen.end:
            seen = _Seen(file, max(0, now.st_size - _TAIL_BYTES))
        if now.st_size > seen.end:
            with self.path.open("rb") as opened:
                opened.seek(seen.end)
                whole, newline, _ = opened.read(now.st_size - seen.end).rpartition(b"\n")
            seen.end += len(whole) + len(newline)
            seen.read((whole + newline).decode(errors="replace").splitlines(keepends=True))
        self._seen = seen
        return seen

    def _lines(self, *, accepted: bool = False) -> Iterator[str]:
        """The lines behind the last acceptance; with `accepted`, those before it too."""
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                begin = 0
                while not accepted and (line := file.readline()):
                    if line.startswith(_ACCEPTED):
                        begin = file.tell()
                file.seek(begin)
                yield from iter(file.readline, "")
        except FileNotFoundError:
            return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _entries(lines: Iterable[str]) -> Iterator[Entry]:
    """The entries among the lines; what a crash cut short is none."""
    for line in lines:
        if match := _LINE.fullmatch(line):
            yield _entry(match)


def _entry(match: re.Match[str]) -> Entry:
    at, number, count, action, certificate, claim = match.groups()
    return Entry(at, number, int(count), action, certificate, int(claim or 0))


def _unknown(session: Session, entries: Sequence[Entry]) -> list[Entry]:
    if not entries:
        return []
    given = rows_table(
        session, {"number": String(), "count": Integer()}, [(e.number, e.count) for e in entries]
    )
    found = session.execute(
        select(given.c.number, given.c.count)
        .join(Submission, Submission.number == given.c.number)
        .where(Submission.send_count >= given.c.count)
    )
    known = {(r.number, r[1]) for r in found}
    return [e for e in entries if (e.number, e.count) not in known]
