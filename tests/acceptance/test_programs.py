"""The ERP's day: keys, jobs by JSON and by file, a cut connection, killed processes, callbacks and events."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.request
from http.client import HTTPException

import pytest

from config.settings import load_settings
from models.tables.database import Database
from tests.conftest import ROOT
from tests.support.factories import certificate_number
from tests.support.receiver import receiver
from tests.support.sheets import write_sheets
from tests.support.system import broker, referee, system

CLIENT = re.search(
    r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL
)[1]
SERIALS = 30


def order(number):
    return {
        "certificate": certificate_number("B", number),
        "action": "verify",
        "pages": 1,
        "reference": f"line {number}",
    }


def job(reference, *numbers):
    orders = [order(n) for n in numbers]
    return {"client_reference": reference, "confirm": "valid", "orders": orders}


@pytest.fixture
def running(short_tmp):
    home = short_tmp / "erp"
    with system(home, NOTIFY_NETWORKS="127.0.0.0/8", API_CALLS="0") as made:
        path = load_settings(made.environment).broker_socket
        with broker(home / "broker", port=0, unix_socket_path=path):
            write_sheets(home, SERIALS)
            made.start_simulator()
            made.run("stock", "import", str(home / "stock.csv"))
            made.run("certificates", "import", str(home / "certificates.csv"))
            made.start("web", "console", "worker", "submitter", "sender", "scheduler")
            made.wait(lambda: made.listens(made.console_port), "console")
            yield made


def call(made, key, method, path, body=None, **headers):
    """One call over real HTTP; its document, and its headers."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(
        f"http://127.0.0.1:{made.console_port}/api/v1{path}",
        data,
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), answer.headers


def cut_off(made, key, once, body):
    """The call is sent whole, and nobody waits for its answer."""
    data = json.dumps(body).encode()
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Idempotency-Key: {once}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", made.console_port)) as line:
        line.sendall(head.encode() + data)


def until_ended(made, key, number):
    def ended():
        try:
            return call(made, key, "GET", f"/jobs/{number}")[0]["state"] == "finished"
        except (OSError, HTTPException):
            return False  # the console was killed, or is starting

    made.wait(ended, f"job {number} ends", 120)


def test_the_day_of_an_erp(running):
    made = running
    made.run(
        "person", "add", "erp", "--name", "ERP 接口", "--role", "maker", "--role", "administrator"
    )
    scopes = [p for s in ("check", "submit", "cancel") for p in ("--scope", f"jobs:{s}")]
    scopes += ["--scope", "read", "--scope", "notify"]
    key = made.json("key", "create", "erp", *scopes)["key"]

    with receiver() as called:
        told = ["batch.finished", "batch.checked"]
        endpoint, _ = call(made, key, "POST", "/endpoints", {"url": called.url, "events": told},
                           **{"Idempotency-Key": "hook"})  # fmt: skip
        called.secrets = [endpoint["secret"]]

        # a cut connection: nobody knows whether it arrived, so it is said again
        cut_off(made, key, "po-1", job("po-1", 1, 2, 3))
        first, _ = call(
            made, key, "POST", "/jobs", job("po-1", 1, 2, 3), **{"Idempotency-Key": "po-1"}
        )
        again, headers = call(
            made, key, "POST", "/jobs", job("po-1", 1, 2, 3), **{"Idempotency-Key": "po-1"}
        )
        assert (again["id"], headers["Idempotency-Replayed"]) == (first["id"], "true")

        # the client of the page, while console and worker are killed
        (made.home / "client.py").write_text(CLIENT)
        (made.home / "orders.json").write_text(json.dumps(job("po-2", *range(4, 20))))
        api, result = f"http://127.0.0.1:{made.console_port}/api/v1", made.home / "result.csv"
        client = subprocess.Popen(
            [sys.executable, "client.py", api, key, "orders.json", str(result)],
            cwd=made.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert client.stdout.readline().startswith("job ")
        made.kill("console", "worker")
        made.start("worker", "console")
        said, _ = client.communicate(timeout=180)
        assert client.returncode == 0, said
        assert "batch.finished finished" in said
        assert result.read_text(encoding="utf-8-sig").count("已核销") == 16

        # the owner's next key: the same call is still the same job
        second = made.json("key", "create", "erp", *scopes)["key"]
        made.run("key", "revoke", key.split("_", 2)[1])
        replayed, headers = call(
            made, second, "POST", "/jobs", job("po-1", 1, 2, 3), **{"Idempotency-Key": "po-1"}
        )
        assert (replayed["id"], headers["Idempotency-Replayed"]) == (first["id"], "true")
        until_ended(made, second, first["id"])

        events = call(made, second, "GET", "/events?after=0")[0]["events"]
        of_jobs = {e["id"]: e["type"] for e in events if e["type"] in told}
        made.wait(lambda: {g["id"] for g in called.got} >= set(of_jobs), "callbacks")
        assert called.bad == []

    ended = [e["data"]["client_reference"] for e in events if e["type"] == "batch.finished"]
    assert sorted(ended) == ["po-1", "po-2"]
    assert [e["place"] for e in events] == sorted({e["place"] for e in events})
    database = Database(f"sqlite:///{made.home}/blankforms.db")
    referee(database, made.home / "simulator" / "ledger.db")
    database.close()
    log = (made.home / "processes.log").read_text()
    assert key.split("_", 2)[2] not in log
    assert second.split("_", 2)[2] not in log
