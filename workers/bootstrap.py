"""The composition root: settings -> context, in the process that does the work, after any fork."""

from __future__ import annotations

import base64
import gc
import os
import resource
import warnings
from pathlib import Path
from typing import Any

import structlog
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from sqlalchemy.exc import ArgumentError

from config.log import set_up_logging
from config.names import Queue
from config.settings import ConfigurationError, Settings, load_settings
from customs.gateway import CustomsGateway
from customs.signing.keyfile import KeyFileSigner
from customs.signing.signer import Signer
from models.database import Database
from models.language import Language, use_language
from models.numbers import is_enterprise_code
from models.schema import require_schema
from net.addresses import read_networks
from net.notifier import Notifier
from tasks.app import app, configure, ring
from tasks.context import Context, current, use
from workers.watchdog import watch

log = structlog.get_logger(__name__)


def build_context(settings: Settings) -> Context:
    """The outside world of this process, by its settings. Opens nothing but the database."""
    if settings.enterprise_code and not is_enterprise_code(settings.enterprise_code):
        raise ConfigurationError("ENTERPRISE_CODE: its check character is wrong (GB 32100)")
    database = open_database(settings)
    require_schema(database, upgrade_now=settings.database_url is None)

    def gateway() -> CustomsGateway:
        from customs.http import HttpGateway  # a command that asks nothing starts faster without

        return HttpGateway(
            settings.gateway_url,
            settings.gateway_token,
            settings.send_concurrency,
            settings.send_deadline_seconds,
        )

    def notifier() -> Notifier:
        from net.notifier_http import HttpNotifier

        return HttpNotifier(read_networks(settings.notify_networks))

    gc.freeze()  # what the imports made lives as long as the process: no collection walks it again
    return Context(settings, database, ring, gateway, lambda: open_signer(settings), notifier)


def open_database(settings: Settings) -> Database:
    """The database of the settings. Raises `ConfigurationError` when its address is none."""
    try:
        return Database(settings.sqlalchemy_url)
    except (ArgumentError, ImportError) as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    except ValueError:  # its text may hold a part of the password
        text = "DATABASE_URL: @ : / in the password must be written as %40 %3A %2F"
        raise ConfigurationError(text) from None


def open_signer(settings: Settings) -> Signer:
    """The card, or the key file when no card is set."""
    if settings.pkcs11_module is None:
        return KeyFileSigner(settings.key_folder, settings.sender)
    from customs.signing.pkcs11 import Pkcs11Signer

    return Pkcs11Signer(token_settings(settings), settings.key_folder)


def token_settings(settings: Settings) -> Any:
    """Which token and key the settings name."""
    from customs.signing.pkcs11 import TokenSettings

    if settings.pkcs11_module is None:
        raise ValueError("no PKCS11_MODULE")
    return TokenSettings(
        module=settings.pkcs11_module,
        token_label=settings.pkcs11_token_label,
        key_label=settings.pkcs11_key_label,
        read_pin=settings.read_pin,
        profile=settings.signature_profile,
        vendor_mechanism=settings.signature_mechanism,
    )


def prepare_home(settings: Settings) -> None:
    """Make the data folder and what the embedded parts keep in it; safe to call again."""
    try:
        _make_folders(settings)
    except OSError as error:
        raise ConfigurationError(f"BLANKFORMS_HOME: {error}") from None


def _make_folders(settings: Settings) -> None:
    settings.blankforms_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.database_url is None:  # in a folder that was there before, others might read it
        database = settings.blankforms_home / "blankforms.db"
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
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


def celery_process(name: str, queue: Queue | None = None) -> Any:
    """The Celery app of one process line; the context is built in each pool process after its fork.

    `queue`: what it consumes; a watchdog ends it when it lives and consumes nothing.
    """
    # Celery warns of root because of pickle, which is not accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    settings = load_settings()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core may hold the PIN
    prepare_home(settings)
    configure(settings)

    @setup_logging.connect(weak=False)
    def on_logging(**_: Any) -> None:
        set_up_logging(settings)

    @worker_process_init.connect(weak=False)
    def on_start(**_: Any) -> None:
        use_language(Language(settings.blankforms_lang))
        use(build_context(settings))
        if settings.simulated:
            log.warning("customs_is_the_simulator", process=name, url=settings.gateway_url)

    @worker_process_shutdown.connect(weak=False)
    def on_stop(**_: Any) -> None:
        current().close()

    if queue is not None:
        watch(settings, queue)
    return app
