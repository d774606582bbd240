"""Customs' callbacks, health and metrics. Small; nothing else (rule 2 of how-it-works.md)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from config.crash import Point, crash_point
from config.names import Task
from config.settings import Settings
from customs.wire import WireProfile
from models.rules.errors import BlankformsError
from models.tables.database import Database
from net.webhooks import SignatureRefused, verify
from tasks.ability import Area, hindrances
from tasks.context import Bell
from tasks.receipts.inbox import Arrival, callback_arrival, store
from webhook.metrics import count_refused_callback, exposition
from webhook.together import SeldomBell, Together

log = structlog.get_logger(__name__)

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a callback (contract section 4)."""


_STORED: Final = {True: '{"stored": true}', False: '{"stored": false}'}


def create_app(settings: Settings, database: Database, ring: Bell, wire: WireProfile) -> Flask:
    """The WSGI application."""
    app = Flask("blankforms-webhook")
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT + 1
    secrets = settings.secrets_of_callbacks

    def write(arrivals: Sequence[Arrival]) -> Sequence[str]:
        with database.write() as session:
            new = store(session, arrivals, datetime.now(UTC))
        if new:
            bell()
        return new

    bell = SeldomBell(ring, Task.APPLY)
    together = Together(write)

    @app.post("/callbacks/customs")
    def receive() -> Response:
        """Verified over the raw bytes, stored, then acknowledged; applied later by a worker."""
        body = request.get_data()
        if len(body) > BODY_LIMIT:  # a chunked one is cut there, not refused
            raise RequestEntityTooLarge
        headers = request.headers
        message_id = headers.get("webhook-id", "")
        try:
            verify(
                secrets,
                message_id,
                headers.get("webhook-timestamp", ""),
                headers.get("webhook-signature", ""),
                body,
                time.time(),
            )
        except SignatureRefused as refused:
            count_refused_callback()
            log.warning("callback_refused", reason=str(refused))
            return _json('{"error": "unauthorized"}', 401)
        new = together.store(callback_arrival(wire, message_id, body))
        crash_point(Point.CALLBACK_STORED)
        return _json(_STORED[new], 202)

    @app.get("/healthz")
    def alive() -> tuple[Response, int]:
        return jsonify(status="ok"), 200

    @app.get("/readyz")
    def ready() -> tuple[Response, int]:
        """Whether an order can be carried out to its end now; not by callbacks alone (`tasks.ability`)."""
        found = hindrances(settings, database)
        of_parts = {a.value: "ok" for a in (Area.DATABASE, Area.BROKER)}
        of_parts |= {h.area.value: h.code for h in reversed(found) if h.area.value in of_parts}
        answer = {"able": not found, **of_parts, "hindrances": [h.shown() for h in found]}
        return jsonify(answer), 503 if found else 200

    @app.get("/metrics")
    def metrics() -> Response:
        """For Prometheus: one exporter for all processes, because the tables know it all."""
        text, content_type = exposition(settings, database, datetime.now(UTC))
        return Response(text, content_type=content_type)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> tuple[Response, int]:
        return jsonify(error="too_large"), 413

    @app.errorhandler(BlankformsError)
    def not_now(error: BlankformsError) -> tuple[Response, int]:
        """Not stored, so not acknowledged: customs repeats the callback."""
        log.error("callback_not_stored", code=error.code)
        return jsonify(error=error.code), 503

    return app


def _json(text: str, status: int) -> Response:
    return Response(text, status, content_type="application/json")
