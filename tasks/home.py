"""The data folder of a deployment and what the embedded parts keep in it, readable by its account alone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from config.errors import ConfigurationError
from config.settings import Settings


def prepare_home(settings: Settings) -> None:
    """Make the data folder and what the embedded parts keep in it; safe to call again.

    What this process writes from here on is for its own account. Raises `ConfigurationError`.
    """
    os.umask(0o077)
    try:
        _make_folders(settings)
    except OSError as error:
        raise ConfigurationError(f"BLANKFORMS_HOME: {error}") from None


def _make_folders(settings: Settings) -> None:
    settings.blankforms_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.database_url is None:  # in a folder that was there before, others might read it
        os.close(os.open(settings.database_file, os.O_RDWR | os.O_CREAT, 0o600))
    settings.broker_socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _own_folder(settings)
    if settings.simulated and not settings.simulator_secret_file.exists():
        settings.simulator_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        _keep_secret(settings.simulator_secret_file, secret.encode())
    if settings.database_url is None and settings.notification_key is None:
        _keep_secret(settings.notification_key_file, base64.b64encode(os.urandom(48)))


def _own_folder(settings: Settings) -> None:
    """The folder of the socket in the temporary folder is ours alone, or we do not use it."""
    folder = settings.broker_socket.parent
    found = folder.stat()
    shared = found.st_uid != os.getuid() or found.st_mode & 0o077
    if folder != settings.blankforms_home and shared:
        raise ConfigurationError(f"{folder}: belongs to another, or others may write there")


def _keep_secret(path: Path, secret: bytes) -> None:
    """Write a secret unless one is there; of two processes at once, the first one's stays."""
    if path.exists():
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    try:
        os.link(part, path)  # unlike a rename, it never replaces what is there
    except FileExistsError:
        pass  # another process was first
    finally:
        part.unlink()
