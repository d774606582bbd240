"""The console's WSGI application: host check, languages, request ids, and errors as programs are told them."""

from __future__ import annotations

import re
import time
import uuid
from importlib.metadata import version
from typing import Final

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from console.api import jobs, nights, notify, people, stock
from console.api.door import PREFIX, serve
from console.api.limits import Limits
from console.api.openapi import STYLE, describe, page
from console.api.problems import (
    BodyTooLarge,
    BodyUnreadable,
    HostUnknown,
    InternalError,
    MethodUnknown,
    problem,
)
from console.pages.door import POLICY, polling, refused
from console.pages.door import serve as serve_pages
from models.rules.errors import BlankformsError, NotFound
from models.rules.language import Language, use_language
from tasks.context import Context

log = structlog.get_logger(__name__)

OPERATIONS: Final = (
    *jobs.OPERATIONS,
    *people.OPERATIONS,
    *stock.OPERATIONS,
    *nights.OPERATIONS,
    *notify.OPERATIONS,
)
"""The table of endpoints."""

FORM_ROOM: Final = 1 << 20
"""Bytes of a body beside the file that it carries."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
}


def create_app(context: Context) -> Flask:
    """The application of a process. It opens nothing to customs and signs nothing."""
    settings = context.settings
    app = Flask("blankforms-console", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = (settings.upload_max_mb << 20) + FORM_ROOM
    app.config["MAX_FORM_MEMORY_SIZE"] = FORM_ROOM
    app.config["TRUSTED_HOSTS"] = settings.console_hosts.split() or None
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    limits = Limits(settings.api_calls)
    description = describe(OPERATIONS, version("blankforms"))
    serve(app, OPERATIONS, context, limits)

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=g.request_id)
        g.began = time.monotonic()
        if _is_api():
            use_language(_language())

    @app.after_request
    def end(response: Response) -> Response:
        if request.endpoint == "pages.static":
            response.headers["Cache-Control"] = "public, max-age=86400"
        elif response.headers.get("ETag") or _is_page_of_a_form():
            response.headers.setdefault("Cache-Control", "no-cache, private")
        for name, value in _SAFE.items():
            response.headers.setdefault(name, value)
        if not _is_api():
            response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Request-Id"] = g.get("request_id", "")
        actor = g.get("actor")
        if _is_api():
            response.headers.update(limits.headers(actor.person_id if actor else None))
        note = log.debug if request.endpoint == "pages.static" or polling() else log.info
        note(
            "api_call" if _is_api() else "page",
            operation=request.endpoint,
            method=request.method,
            status=response.status_code,
            ms=round((time.monotonic() - g.began) * 1000),
            by=actor.name if actor else None,
        )
        structlog.contextvars.unbind_contextvars("request_id")
        return response

    @app.get(f"{PREFIX}/openapi.json")
    def openapi() -> dict[str, object]:
        return description

    @app.get(f"{PREFIX}/docs")
    def docs() -> Response:
        return Response(page(description), content_type="text/html; charset=utf-8")

    @app.get(f"{PREFIX}/docs.css")
    def style() -> Response:
        return Response(STYLE, content_type="text/css; charset=utf-8")

    @app.get("/healthz")
    def alive() -> dict[str, str]:
        return {"status": "ok"}

    serve_pages(app, context)
    app.register_error_handler(BlankformsError, problem)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unforeseen)
    return app


def _is_page_of_a_form() -> bool:
    """A page that answers a form is kept by the browser: Back shows it again with what was typed."""
    return request.method == "POST" and not _is_api()


def _is_api() -> bool:
    return request.path.startswith("/api/") or request.path == "/healthz"


def _language() -> Language:
    best = request.accept_languages.best_match([Language.ZH.value, Language.EN.value], "zh")
    return Language(best or "zh")


def _http_error(error: HTTPException) -> Response:
    """What the framework refuses, in our words."""
    if not _is_api() and not isinstance(error, SecurityError):
        return refused(
            BodyTooLarge()
            if isinstance(error, RequestEntityTooLarge)
            else NotFound(what=request.path)
        )
    match error:
        case RequestEntityTooLarge():
            said = problem(BodyTooLarge())
        case SecurityError():
            said = problem(HostUnknown())
        case HTTPException(code=404):
            said = problem(NotFound(what=request.path))
        case HTTPException(code=405):
            said = problem(MethodUnknown())
            methods = getattr(error, "valid_methods", None) or ()
            said.headers["Allow"] = ", ".join(methods)
        case _:
            said = problem(BodyUnreadable(), error.code)
    return said


def _unforeseen(error: Exception) -> Response:
    """The last resort: no traceback in front of anybody; the log has it under the request's id."""
    log.error("request_failed", path=request.path, exc_info=error)
    if not _is_api():
        return refused(InternalError(request=g.get("request_id", "")))
    return problem(InternalError(request=g.get("request_id", "")))
