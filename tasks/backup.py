"""Backup of a deployment while it runs, and its return.

What belongs to it: the database, the send journal, the anchors of the history, the keys in the home
(the card's latch among them). Not: the secrets that the settings name, the broker (a doorbell), the
simulator. The database is copied first and the journal after it: a journal that is older than the
database would hide nothing, and one that is newer shows what the database has forgotten.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import inspect

from config.settings import Settings
from models.reads.deployment import Identity, compare
from models.rules.errors import AlreadyRunning, BackupUnusable, DatabaseUnreachable, RestoreRefused
from models.tables.schema import current_version
from tasks.home import prepare_home
from tasks.journal import Journal
from tasks.opening import connect, open_database

SQLITE: Final = "blankforms.db"
POSTGRESQL: Final = "blankforms.dump"
MANIFEST: Final = "manifest.json"
LOCK: Final = "up.lock"
"""Held by `blankforms up` for as long as it runs."""

_PG_NAMES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


@contextmanager
def alone_in(settings: Settings) -> Iterator[None]:
    """Nobody else runs the system of this home meanwhile. Raises `AlreadyRunning`.

    The lock is the kernel's: it is gone with the process.
    """
    with (settings.blankforms_home / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(home=settings.blankforms_home) from None
        yield


def back_up(settings: Settings, folder: Path, now: datetime) -> Path:
    """A folder of its own in `folder` with everything that belongs to the deployment; gives it.

    May be done while the system runs. It has its name only when it is whole and on the disk. Raises
    `DatabaseUnreachable`, `BackupUnusable` (no room, no pg_dump), and as `open_database`.
    """
    database = open_database(settings)
    version = current_version(database)
    database.close()
    target = folder / f"blankforms-{now:%Y%m%dT%H%M%SZ}"
    part = target.with_name(f".{target.name}.part")
    try:
        part.mkdir(parents=True, mode=0o700)
        try:
            _fill(settings, part, now, version)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)  # what is not whole is of no use
    except OSError as error:
        raise BackupUnusable(detail=f"{target}: {error}") from error
    return target


def _fill(settings: Settings, part: Path, now: datetime, version: str | None) -> None:
    """Everything that belongs to the deployment, the database first, and the manifest last."""
    if settings.database_url is None:
        _copy_sqlite(settings.database_file, part / SQLITE)
    else:
        _run("pg_dump", settings, "--format=custom", "--no-owner", f"--file={part / POSTGRESQL}")
    for name, place in _folders(settings).items():
        if place.exists():
            shutil.copytree(place, part / name)
    if settings.notification_key_file.exists():
        shutil.copy2(settings.notification_key_file, part / "notification-key")
    files = {str(p.relative_to(part)): _hash(p) for p in sorted(part.rglob("*")) if p.is_file()}
    manifest = {"at": now.isoformat(), "schema": version, "files": files}
    manifest |= {"sender": settings.sender, "customs": settings.customs}
    (part / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1))
    os.sync()


def restore(settings: Settings, source: Path, now: datetime) -> bool:
    """Bring a backup back into a home and a database that hold nothing; gives whether a journal was there.

    The journal that is there is newer than the backup's and stays: it tells what the backup has forgotten.
    It is marked before anything else: nothing is reserved, signed or sent until a person has reconciled
    and accepted (`blankforms journal accept`). Broken off, it may be done again. No file of the home is
    replaced: the latch that is there knows more than the backup's. Raises `BackupUnusable`,
    `RestoreRefused`, `AnotherDeployment`, `AlreadyRunning`.
    """
    _require_whole(source, settings)
    prepare_home(settings)
    with alone_in(settings):
        _require_empty(settings)
        live = settings.journal_file.exists()
        if not live and (source / "journal").exists():
            _bring_missing(source / "journal", settings.journal_file.parent)
        Journal(settings.journal_file).mark_restored(now)
        if settings.database_url is None:
            part = settings.database_file.with_suffix(".part")
            part.unlink(missing_ok=True)
            _copy_sqlite(source / SQLITE, part)
            _remove_empty_sqlite(settings.database_file)
            part.rename(settings.database_file)
        else:
            _run("pg_restore", settings, "--no-owner", "--exit-on-error", "--single-transaction",
                 f"--dbname={_environment(settings)['PGDATABASE']}", str(source / POSTGRESQL))  # fmt: skip
        for name, place in _folders(settings).items():
            if (source / name).exists() and name != "journal":
                _bring_missing(source / name, place)
        if (source / "notification-key").exists():
            shutil.copy2(source / "notification-key", settings.notification_key_file)
        os.sync()
    return live


def _folders(settings: Settings) -> dict[str, Path]:
    return {
        "journal": settings.journal_file.parent,
        "anchors": settings.anchors,
        "card": settings.key_folder,
    }


def _bring_missing(source: Path, place: Path) -> None:
    """Copy what is not there."""

    def unless_there(one: str, other: str) -> None:
        if not Path(other).exists():
            shutil.copy2(one, other)

    shutil.copytree(source, place, dirs_exist_ok=True, copy_function=unless_there)


def _copy_sqlite(source: Path, target: Path) -> None:
    """As it is at one moment, whoever writes meanwhile."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as here,
            closing(sqlite3.connect(target)) as there,
        ):
            here.backup(there)
    except sqlite3.Error as error:
        raise DatabaseUnreachable(detail=f"{source}: {error}") from error


def _run(program: str, settings: Settings, *arguments: str) -> None:
    """A program of PostgreSQL; the password goes by its environment, never by its arguments."""
    try:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own programs
            [program, *arguments],
            env={**os.environ, **_environment(settings)},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BackupUnusable(detail=f"{program}: {error.strerror}") from error
    if done.returncode:
        raise BackupUnusable(detail=f"{program}: {done.stderr.strip()[-300:]}")


def _environment(settings: Settings) -> dict[str, str]:
    url = settings.sqlalchemy_url.replace("postgresql+psycopg://", "postgresql://", 1)
    parts: dict[str, Any] = conninfo_to_dict(url)
    return {name: str(parts[key]) for key, name in _PG_NAMES.items() if parts.get(key)}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_whole(source: Path, settings: Settings) -> None:
    """It is for this kind of database and this deployment, and every file is what it was.

    Raises `BackupUnusable` and `AnotherDeployment`.
    """
    try:
        manifest = json.loads((source / MANIFEST).read_text())
        files, known = manifest["files"], Identity(manifest["sender"], manifest["customs"])
        damaged = [name for name, sha256 in files.items() if _hash(source / name) != sha256]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupUnusable(detail=f"{source}: {error}") from error
    wanted = SQLITE if settings.database_url is None else POSTGRESQL
    if wanted not in files:
        raise BackupUnusable(detail=f"{source}: {wanted} -")
    if damaged:
        raise BackupUnusable(detail=f"{source}: {', '.join(damaged[:3])}")
    compare(known, Identity(settings.sender, settings.customs))


def _require_empty(settings: Settings) -> None:
    """Nothing is written over. Raises `RestoreRefused`."""
    if settings.database_url is None and not settings.database_file.stat().st_size:
        return
    database = connect(settings)
    try:
        with database.read() as session:
            tables = inspect(session.connection()).get_table_names()
    finally:
        database.close()
    if tables:
        name = str(settings.database_file) if settings.database_url is None else "DATABASE_URL"
        raise RestoreRefused(place=name)


def _remove_empty_sqlite(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
