"""A PIN that the card refused is never tried again, by any process, across restarts.

The latch is a file beside the card's lock. It holds a keyed fingerprint of the refused PIN, so a
corrected PIN file opens the way by itself and nothing can be learnt from the file: the key is
random and stays in the same folder, mode 0600 (signing.md 2.4). Every PIN that was refused is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class PinLatch:
    """The latch of one token. Use it inside `exclusive()`."""

    def __init__(self, folder: Path, token_label: str) -> None:
        self._folder = folder
        name = hashlib.sha256(token_label.encode()).hexdigest()[:16]
        self._file = folder / f"latch-{name}.json"
        self._lock_file = folder / f"login-{name}.lock"
        self._key_file = folder / "latch.key"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One process at a time: also cures tokens that break on simultaneous logins."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._lock_file, "w", opener=_private) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def refused(self, pin: str) -> str | None:
        """Why this very PIN must not be tried; None when it may be."""
        return self._kept().get(self._fingerprint(pin))

    def close(self, pin: str, reason: str) -> None:
        """Remember that this PIN must not be tried; on disk before it returns.

        Closed before a login begins too: a process that dies in it has perhaps used a try. Then
        a person deletes the latch file, whose name is in the message, after looking at the card.
        """
        self._keep({**self._kept(), self._fingerprint(pin): f"{reason} ({self._file})"})

    def open(self, pin: str) -> None:
        """Let a PIN through: it was accepted, or was certainly not tried."""
        kept = self._kept()
        kept.pop(self._fingerprint(pin), None)
        self._keep(kept)

    def _kept(self) -> dict[str, str]:
        if not self._file.exists():
            return {}
        return dict(json.loads(self._file.read_text()))

    def _keep(self, kept: dict[str, str]) -> None:
        if kept:
            self._store(self._file, json.dumps(kept))
        else:
            self._file.unlink(missing_ok=True)
            self._sync_folder()

    def _fingerprint(self, pin: str) -> str:
        if not self._key_file.exists():
            self._store(self._key_file, os.urandom(32).hex())
        key = bytes.fromhex(self._key_file.read_text())
        return hmac.new(key, pin.encode(), hashlib.sha256).hexdigest()

    def _store(self, path: Path, text: str) -> None:
        part = path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """Names too: a power cut neither forgets a used try nor brings one back that was good."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
