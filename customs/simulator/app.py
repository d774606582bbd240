"""The simulator as a process: the calls of contract section 2 over HTTP, and its clock."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, cast

from flask import Flask, Request, Response, abort, request
from gunicorn.app.base import BaseApplication

from customs.simulator.customs import Reply, SimulatedCustoms, SimulatorSettings
from customs.simulator.faults import Fault, FaultScript
from customs.simulator.rules import SIZE_LIMIT
from models.rules.calendar import BEIJING

TICK_SECONDS: Final = 0.05
DRIP_SECONDS: Final = 0.2
THREADS: Final = 64
KEEP_ALIVE_SECONDS: Final = 75


def create_app(customs: SimulatedCustoms) -> Flask:
    """The HTTP face of a simulated customs."""
    app = Flask("customs-simulator")
    app.config["MAX_CONTENT_LENGTH"] = SIZE_LIMIT * 4

    @app.before_request
    def check_token() -> Response | None:
        if customs.settings.answer_seconds:
            time.sleep(customs.settings.answer_seconds)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode(), customs.settings.token.encode()):
            return None
        return _json({"error": "unauthorized"}, 401)

    def poisoned() -> bool:
        return customs.script.play((Fault.LIST_POISON,), "", []) is not None

    @app.post("/messages")
    def take() -> Response:
        asked = cast("Request", request._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
        return _play(asked, customs.take(asked.get_data()))

    @app.get("/messages/<number>")
    def find(number: str) -> Response:
        found = customs.find(number)
        return _json({"error": "not_found"}, 404) if found is None else _json(found)

    @app.get("/receipts")
    def receipts() -> Response:
        after = request.args.get("after") or "0"
        limit = min(max(request.args.get("limit", 100, type=int), 1), 500)
        page = customs.receipts(int(after), limit)
        if page["receipts"] and poisoned():
            page["receipts"].insert(0, {"receiptId": 7, "xml": None})
        return _json(page)

    @app.get("/forms")
    def forms() -> Response:
        limit = min(max(request.args.get("limit", 1000, type=int), 1), 5000)
        serial, form_type = _place(request.args.get("after", ""))
        rows = customs.ledger.read(
            "SELECT * FROM form WHERE holder = ? AND (serial, form_type) > (?, ?)"
            " ORDER BY serial, form_type LIMIT ?",
            (request.args.get("holder", ""), serial, form_type, limit),
        )
        listed = [
            {
                "serialNo": r["serial"],
                "formType": r["form_type"],
                "state": r["state"],
                "certNo": r["certificate"],
                "issuedOn": r["issued_on"],
                "updatedAt": _moment(r["updated_at"]),
            }
            for r in rows
        ]
        if poisoned():
            listed.insert(0, {"serialNo": None, "formType": 7, "state": 1})
        last = rows[-1] if len(rows) == limit else None
        following = _cursor(last["serial"], last["form_type"]) if last else None
        return _json({"forms": listed, "next": following})

    @app.get("/certificates")
    def certificates() -> Response:
        limit = min(max(request.args.get("limit", 1000, type=int), 1), 1000)
        enterprise = request.args.get("enterprise", "")
        rows = customs.ledger.read(
            "SELECT * FROM certificate WHERE ? IN (exporter, agent) AND number > ?"
            " AND status IN ('approved', 'revoked')"  # no other is listed (contract section 2)
            " AND COALESCE(approved_on, '') BETWEEN ? AND ? ORDER BY number LIMIT ?",
            (
                enterprise,
                _place(request.args.get("after", ""))[0],
                request.args.get("approvedFrom", ""),
                request.args.get("approvedTo") or "9999",
                limit,
            ),
        )
        listed = [
            {
                "certNo": r["number"],
                "certType": r["type"],
                "ciqRegNo": r["exporter"],
                "aplRegNo": r["agent"],
                "approvedOn": r["approved_on"],
                "pages": r["pages"],
                "status": r["status"],
            }
            for r in rows
        ]
        if poisoned():
            listed.insert(0, {"certNo": "B" * 40, "pages": "two", "status": None})
        following = _cursor(rows[-1]["number"], "") if len(rows) == limit else None
        return _json({"certificates": listed, "next": following})

    return app


def _cursor(*place: str) -> str:
    """Where a list goes on; opaque to whoever asks (contract section 2)."""
    return base64.urlsafe_b64encode("|".join(place).encode()).decode()


def _place(cursor: str) -> tuple[str, str]:
    """What a cursor of ours means; 400 for one that is none."""
    if not cursor:
        return "", ""
    try:
        first, separator, second = base64.urlsafe_b64decode(cursor).decode().partition("|")
    except ValueError:
        separator = ""
    if not separator:
        abort(400)
    return first, second


def _moment(seconds: float | None) -> str | None:
    """RFC 3339 with an offset, as the contract writes times in JSON."""
    return datetime.fromtimestamp(float(seconds), BEIJING).isoformat() if seconds else None


def _json(value: Any, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False)
    return Response(text, status, content_type="application/json")


def _play(asked: Request, reply: Reply) -> Response:
    """The answer, done wrong as its fault says."""
    fault = reply.fault.fault if reply.fault else None
    seconds = str(max(1, round(reply.fault.seconds))) if reply.fault else "1"
    match fault:
        case Fault.ANSWER_LOST | Fault.LATE:
            _hang_up(asked)
            return Response(status=204)
        case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
            return Response("internal error", 500)
        case Fault.TOO_MANY:
            return Response("", 429, headers={"Retry-After": seconds})
        case Fault.BUSY:
            return Response("", 503, headers={"Retry-After": seconds})
        case Fault.REFUSE_MESSAGE:
            return Response(reply.body, 422, content_type="application/xml")
        case Fault.DRIP:
            response = Response(_drip(reply.body), 200, content_type="application/xml")
            response.headers["Content-Length"] = str(len(reply.body))
            return response
        case Fault.TRUNCATED:
            half = Response(_half(asked, reply.body), 200, content_type="application/xml")
            half.headers["Content-Length"] = str(len(reply.body))
            return half
        case _:
            return Response(reply.body, reply.status, content_type="application/xml")


def _drip(body: bytes) -> Iterator[bytes]:
    for index in range(len(body)):
        time.sleep(DRIP_SECONDS)
        yield body[index : index + 1]


def _half(asked: Request, body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    _hang_up(asked)


def _hang_up(asked: Request) -> None:
    environ = asked.environ  # the server's own socket: gunicorn's, or werkzeug's in tests
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        connection.shutdown(socket.SHUT_RDWR)


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn with one worker process: the ledger's clock runs in it."""

    def __init__(self, options: dict[str, Any], load: Callable[[], Flask]) -> None:
        self._options = options
        self._load = load
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._load()


def run(settings: SimulatorSettings, script: FaultScript, host: str, port: int) -> None:
    """Serve until told to stop."""

    def load() -> Flask:
        customs = SimulatedCustoms(settings, script)
        for work in (customs.decide_due, customs.call_due):
            threading.Thread(target=_tick, args=(work,), daemon=True).start()
        return create_app(customs)

    options = {
        "bind": f"{host}:{port}",
        "workers": 1,
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": KEEP_ALIVE_SECONDS,
        "loglevel": "warning",
        "graceful_timeout": 2,
        "control_socket_disable": True,
    }
    _Server(options, load).run()


def _tick(work: Callable[[], int]) -> None:
    while True:
        if work() == 0:
            time.sleep(TICK_SECONDS)
