"""Secrets are planted everywhere and looked for everywhere: in no log, table, queue, process or report."""

from __future__ import annotations

import os
import re
import resource
import signal
from base64 import b64encode
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import text

from models.tables.base import Base
from models.tables.database import Database
from tests.support.factories import SENDER
from tests.support.sheets import bring_in, write_sheets
from tests.support.system import broker, system
from tests.support.tokens import LABEL, MODULE, PIN, make_token

TOKEN = "canary-token-5d1c8f"
CALLBACK = "whsec_" + b64encode(b"canary-callback-secret-000").decode()
ROOT_KEY = "canary-notification-key-0123456789abcdef"
PASSWORD = "canary-password-77aa"
BROKER_PASSWORD = "canary-of-the-broker-3c1d9e"
TELLING = 8
"""A shorter piece of base64 is found by chance."""


def files_in(folder: Path) -> list[Path]:
    """Everything the system wrote, but for where its secrets live."""
    given = {"pin", "token", "callback", "notification", "database", "broker_url"}
    return [
        p for p in folder.rglob("*")
        if p.is_file() and not p.is_socket() and p.name not in given and "hsm" not in p.parts
    ]  # fmt: skip


def processes_of(running) -> list[Path]:
    found = []
    groups = {p.pid for p in running.processes.values()}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) in groups:
                    found.append(entry)
            except ProcessLookupError:
                continue
    return found


def leaves_a_core(process: Path) -> bool:
    """Whether a crash would write its memory to the disk."""
    limit = re.search(r"Max core file size +(\S+)", (process / "limits").read_text())
    assert limit
    return limit[1] != "0"


@pytest.fixture
def cores_allowed():
    """The machine would let processes leave a core: if they do not, it is by their own doing."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    assert before[1] != 0
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


@pytest.mark.timeout(240)
def test_no_secret_is_found_where_none_belongs(short_tmp, postgres_url, cores_allowed):
    home, customs_home = short_tmp / "canary", short_tmp / "canary-customs"
    home.mkdir()
    write_sheets(home, 12)
    config = make_token(home / "hsm")
    secrets = {"pin": PIN, "token": TOKEN, "callback": CALLBACK, "notification": ROOT_KEY}
    for name, secret in secrets.items():
        (home / name).write_text(secret)
    secrets["password"] = PASSWORD
    (home / "database").write_text(postgres_url.replace("postgres:@", f"postgres:{PASSWORD}@"))
    assert PASSWORD in (home / "database").read_text()
    with broker(home / "broker") as server, system(customs_home) as customs:
        Redis(port=server.port).config_set("requirepass", BROKER_PASSWORD)
        url = f"redis://:{BROKER_PASSWORD}@127.0.0.1:{server.port}/0"
        (home / "broker_url").write_text(url)
        secrets["broker"] = BROKER_PASSWORD
        customs.environment |= {
            "CUSTOMS_TOKEN_FILE": str(home / "token"),
            "CUSTOMS_URL": "http://unused.invalid",
            "ENTERPRISE_CODE": SENDER,
            "CALLBACK_SECRETS_FILE": str(home / "callback"),
        }
        with system(
            home,
            DATABASE_URL_FILE=str(home / "database"),
            BROKER_URL_FILE=str(home / "broker_url"),
            CUSTOMS_URL=f"http://127.0.0.1:{customs.simulator_port}",
            CUSTOMS_TOKEN_FILE=str(home / "token"),
            CALLBACK_SECRETS_FILE=str(home / "callback"),
            NOTIFICATION_KEY_FILE=str(home / "notification"),
            NOTIFY_NETWORKS="127.0.0.0/8",
            ENTERPRISE_CODE=SENDER,
            PKCS11_MODULE=str(MODULE),
            PKCS11_TOKEN_LABEL=LABEL,
            PKCS11_KEY_LABEL="sign",
            PKCS11_PIN_FILE=str(home / "pin"),
            SOFTHSM2_CONF=str(config),
            LOG_LEVEL="DEBUG",
            PYTHONFAULTHANDLER="1",
        ) as running:
            customs.environment["PORT"] = str(running.port)
            customs.start_simulator(
                *("--stock", str(home / "stock.csv")),
                *("--certificates", str(home / "certificates.csv")),
                *("--trust", str(home / "hsm" / "certificate.pem")),
            )
            bring_in(running, home)
            running.start("worker", "submitter", "sender", "scheduler", "web")
            url = "http://127.0.0.1:9/hook"
            added = running.json("notify", "add", url, "--events", "batch.finished")
            secrets["endpoint"] = added["secret"]
            running.json("submit", str(home / "orders.csv"), "--yes", "--wait")
            dumping: dict[str, tuple[bool, bytes]] = {}
            everything = {
                "config": running.run("config"),
                "doctor": running.run("doctor", "--deep") + running.stderr,
                "deliveries": running.run("notify", "deliveries"),
            }
            for process in processes_of(running):
                for what in ("cmdline", "environ"):
                    everything[f"{process}/{what}"] = (process / what).read_bytes()
                dumping[process.name] = leaves_a_core(process), (process / "cmdline").read_bytes()
            running.kill("worker")
            broker_now = Redis(port=server.port, password=BROKER_PASSWORD)
            running.wait(
                lambda: broker_now.llen("blankforms:work"), "the scheduler's ring for nobody"
            )
            everything["broker"] = dump(broker_now)
            running.kill("submitter", how=signal.SIGABRT)  # it dies with the card open
            running.wait(lambda: "Abort" in log(home) or "Fatal" in log(home), "the crash is said")
            everything |= {str(p): p.read_bytes() for p in files_in(home)}
            everything |= tables(postgres_url)
    found = [
        (where, name)
        for where, content in everything.items()
        for name, secret in secrets.items()
        if any(form in raw(content) for form in forms_of(secret))
    ]
    assert found == []
    assert len(everything) > 30
    assert not [
        pid
        for pid, (core, line) in dumping.items()
        if core and b"celery" in line and b"sh\0-c" not in line
    ]
    assert [pid for pid, (core, line) in dumping.items() if not core and b"gunicorn" in line]


def forms_of(secret: str) -> list[bytes]:
    """As it is, in hexadecimal, and in base64 wherever it may begin (queues, tables and dumps)."""
    plain = secret.encode()
    shifted = [b64encode(b"\0" * shift + plain) for shift in range(3)]
    whole = [code[4 if shift else 0 : -4] for shift, code in enumerate(shifted)]
    coded = [plain.hex().encode(), *whole]
    return [plain, *(form for form in coded if len(form) >= TELLING)]


def raw(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


def test_a_secret_is_recognised_however_it_is_coded():
    for before in (b"", b"a", b"ab", b"abc"):
        coded = b64encode(before + TOKEN.encode() + b"xyz")
        assert any(form in coded for form in forms_of(TOKEN))


def log(home: Path) -> str:
    return (home / "processes.log").read_text(errors="replace")


def dump(client: Redis) -> bytes:
    """Every key, and every value it has; not by DUMP, which compresses."""
    read = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    return b"".join(key + repr(read[client.type(key)](key)).encode() for key in client.keys("*"))


def tables(url: str) -> dict[str, str]:
    database = Database("postgresql+psycopg://" + url.removeprefix("postgresql://"))
    shown = {}
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            rows = session.execute(text(f"SELECT t::text FROM {table.name} t")).scalars()
            shown[f"table {table.name}"] = re.sub(r"\\\\x", "", "\n".join(rows))
    database.close()
    return shown
