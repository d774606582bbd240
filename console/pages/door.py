"""The way in to the pages: who is signed in, that a form comes from our own page, and how a page is answered.

A page needs no token in its forms: a browser says where a request comes from (`Sec-Fetch-Site`, else `Origin`), and
the cookie of a sign-in goes with requests of our own site alone (`SameSite`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Flask, Response, current_app, g, redirect, request, url_for
from flask import render_template as rendered
from jinja2_fragments.flask import render_block

from console.api.door import LARGEST
from console.pages.kept import KeptParts
from models.reads.sign_ins import Signed, passwords_given
from models.reads.to_do import to_do_count
from models.rules.errors import (
    BlankformsError,
    FileUnreadable,
    Kind,
    NotFound,
    SignInRefused,
    text_of_code,
)
from models.rules.language import Language, Text, current_language, t, use_language
from models.rules.people import ROLE_WORDS, Deed, may
from models.rules.plan import VOID_REASON_WORDS
from models.rules.states import FormState, label
from models.writes.calls import Once
from tasks.ability import Hindrance, hindrances
from tasks.context import Context
from tasks.people import sign_ins

pages = Blueprint(
    "pages",
    "console",
    template_folder="templates",
    static_folder="static",
    static_url_path="/static",
)

COOKIE: Final = "blankforms_sign_in"
LANGUAGE: Final = "blankforms_lang"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_OPEN: Final = frozenset(
    {"pages.login", "pages.static", "pages.speak", "pages.login_oidc", "pages.login_oidc_back"}
)
"""What whoever comes may see."""

STATE_KEEPS_SECONDS: Final = 5
"""How long it is remembered whether orders can be carried out: a hundred open pages cost one look."""


@dataclass
class _Shell:
    """What every page shows beside its own, looked at anew every few seconds by the whole process."""

    at: float = 0.0
    hindrances: tuple[Hindrance, ...] = ()
    to_do: int = 0
    given: tuple[Mapping[str, Any], ...] = ()


class Shell:
    """The same for all threads of a process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = Lock()
        self._known = _Shell()

    def look(self) -> _Shell:
        """What is known; nobody waits for another's look."""
        if time.monotonic() - self._known.at > STATE_KEEPS_SECONDS and self._lock.acquire(
            blocking=not self._known.at
        ):
            try:
                self._known = self._look()
            finally:
                self._lock.release()
        return self._known

    def forget(self) -> None:
        """Look anew the next time: somebody has just done something about it."""
        self._known = replace(self._known, at=0.0)

    def _look(self) -> _Shell:
        found = tuple(hindrances(self._context.settings, self._context.database))
        now = self._context.now()
        with self._context.database.read() as session:
            waiting = to_do_count(session, now)
            given = tuple(passwords_given(session, now))
        return _Shell(time.monotonic(), found, waiting, given)


def serve(app: Flask, context: Context) -> None:
    """Add the pages to the application."""
    from console.pages import (  # they need `pages`
        certificates,
        forms,
        importing,
        inbox,
        jobs,
        settings,
        signing_in,
    )

    del certificates, forms, importing, inbox, jobs, settings, signing_in
    app.extensions["blankforms"] = (context, Shell(context), KeptParts())
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        t=t, label=label, Deed=Deed, able=able, with_query=with_query, state_of_form=FormState,
        reason_words=reason_words, stopped_words=stopped_words,
    )  # fmt: skip
    app.jinja_env.filters.update(moment=moment, clock=clock, day=day)
    app.register_blueprint(pages)
    app.jinja_env.globals["m"] = app.jinja_env.get_template("macros.html").module


def forget() -> None:
    """What waits has changed by what was just done."""
    current_app.extensions["blankforms"][1].forget()


def whole() -> Context:
    """The process's context, acting for nobody."""
    context: Context = current_app.extensions["blankforms"][0]
    return context


def acting() -> Context:
    """The context that acts for whoever is signed in."""
    context: Context = g.acting
    return context


def signed() -> Signed:
    """Whoever is signed in."""
    found: Signed = g.signed
    return found


def polling() -> bool:
    """Whether a part of a page refreshes itself: nobody does anything."""
    return request.headers.get("HX-Request") == "true" and "live" in request.args


@pages.before_request
def come_in() -> Response | None:
    """Language, the origin of forms, and whoever is signed in."""
    use_language(_language())
    if request.method == "POST" and not _from_our_own_page():
        raise ForeignForm
    if request.endpoint in _OPEN:
        _refuse_unkeepable()
        return None
    try:
        g.signed = sign_ins.who(whole(), request.cookies.get(COOKIE, ""), doing=not polling())
    except SignInRefused:
        return _to_sign_in()
    g.actor = g.signed.actor
    g.acting = replace(whole(), actor=g.signed.actor)
    _refuse_unkeepable()
    if g.signed.must_choose and request.endpoint not in {"pages.password", "pages.logout"}:
        return moved("pages.password")
    return None


def _refuse_unkeepable() -> None:
    """Raise `NotFound` for numbers and words that no database keeps. A stranger's form is not even read for it."""
    path = (request.view_args or {}).values()
    lists = (*request.args.listvalues(), *request.form.listvalues(), path)
    if any(isinstance(v, int) and v > LARGEST for v in path) or any(
        "\0" in str(v) for values in lists for v in values
    ):
        raise NotFound(what=request.path[:100])


class ForeignForm(BlankformsError):
    """A form that was not sent by a page of ours."""

    code = "foreign_form"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "此请求不是从本系统的页面发出的，未作任何处理；请回到页面重新操作",
        "this did not come from a page of ours and nothing was done; go back to the page and try again",
    )


def _from_our_own_page() -> bool:
    """By what the browser says; over plain http in a LAN it says `Origin` alone."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", ""))
    return bool(origin.netloc) and origin.netloc == request.host


def _language() -> Language:
    said = request.cookies.get(LANGUAGE)
    if said in {Language.ZH.value, Language.EN.value}:
        return Language(said)
    return Language(whole().settings.blankforms_lang)


def _to_sign_in() -> Response:
    target = request.full_path.rstrip("?") if request.method == "GET" and not polling() else ""
    answer = moved("pages.login", **({"next": target} if target not in {"", "/"} else {}))
    if polling():  # the part of the page cannot be the login page: all of it goes there
        answer = Response(status=401)
        answer.headers["HX-Refresh"] = "true"
    answer.delete_cookie(COOKIE)
    return answer


def safe_target(target: str) -> str:
    """Where to go after signing in: a path of ours, and nothing else."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if plain else "/"


def moved(endpoint: str, **values: Any) -> Response:
    """See that page instead."""
    return redirect(url_for(endpoint, **values), 303)  # type: ignore[return-value]  # flask's own response


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A whole page."""
    return _answer(rendered(template, **_shell(), **values), status)


def shown_once(answer: Response, *secrets: str) -> Response:
    """The page, which no browser keeps where it shows a secret."""
    if any(secrets):
        answer.headers["Cache-Control"] = "no-store"
    return answer


def part(template: str, block: str, **values: Any) -> Response:
    """One block of a page: what a poll asks for. Its tag spares the browser what it has already."""
    return _tagged(render_block(template, block, **_shell(), **values))


def kept_part(
    template: str, block: str, about: Hashable, mark: Hashable, values: Callable[[], dict[str, Any]]
) -> Response:
    """The same of a block that is one for all who see it: made anew when its mark is another one, or what hinders
    orders.
    """
    shell = _shell()
    hindered = tuple(str(h.error) for h in shell["shell"].hindrances)
    parts: KeptParts = current_app.extensions["blankforms"][2]
    name = (template, block, about, current_language())
    return _tagged(
        parts.get(
            name, (mark, hindered), lambda: render_block(template, block, **shell, **values())
        )
    )


def _tagged(text: str) -> Response:
    answer = _answer(text, 200)
    answer.add_etag()
    answer.make_conditional(request)
    return answer


def _answer(text: str, status: int) -> Response:
    return Response(text, status, content_type="text/html; charset=utf-8")


def _shell() -> dict[str, Any]:
    context = whole()
    known = current_app.extensions["blankforms"][1].look() if "signed" in g else _Shell()
    return {
        "signed": g.get("signed"),
        "shell": known,
        "settings": context.settings,
        "here": request.path,
        "zone": context.settings.tz,
        "roles": [ROLE_WORDS[r] for r in sorted(g.signed.actor.roles)] if "signed" in g else [],
        "now": context.now(),
    }


def able(deed: Deed) -> bool:
    """Whether whoever is signed in may do it: what they may not, no page offers."""
    return may(g.signed.actor, deed)


def with_query(**changed: Any) -> str:
    """The same address with other filters; an empty one is left out."""
    query: dict[str, list[Any]] = {
        **request.args.to_dict(flat=False),
        **{k: [v] for k, v in changed.items()},
    }
    if "live" not in changed:
        query.pop("live", None)
    pairs = [(k, v) for k, values in query.items() for v in values if v not in {"", None}]
    return f"{request.path}?{urlencode(pairs)}" if pairs else request.path


def _came_from() -> str:
    """The page of ours on which the button was; "" where it is not known."""
    came = urlsplit(request.referrer or "")
    ours = came.netloc == request.host and came.path != request.path
    return safe_target(f"{came.path}?{came.query}".rstrip("?")) if ours else ""


def refused(error: BlankformsError) -> Response:
    """An error that no page shows in its own place."""
    status = {
        Kind.NOT_FOUND: 404,
        Kind.NOT_ALLOWED: 403,
        Kind.CONFLICT: 409,
        Kind.NOT_NOW: 503,
        Kind.FAILURE: 500,
    }
    return page("error.html", status.get(error.kind, 422), error=error, came_from=_came_from())


def reason_words(code: str) -> str:
    """A reason of a void in words."""
    return str(VOID_REASON_WORDS.get(code, code))


def stopped_words(stopped: Mapping[str, Any]) -> str:
    """Why an order does not go on by itself."""
    return text_of_code(stopped["code"], stopped["values"])


def uploaded(name: str) -> tuple[str, bytes]:
    """The file of a form: its name and bytes. Raises `FileUnreadable` where none was chosen."""
    file = request.files.get(name)
    if file is None or not file.filename:
        raise FileUnreadable(file="-", detail=t("请选择一个文件", "choose a file"))
    kept = file.filename.replace("\\", "/").rpartition("/")[2][-255:]
    return "".join(c for c in kept if c.isprintable()) or "file", file.stream.read()


def once_of(said: bytes) -> Once:
    """A form that makes something, as it came with its page: sent twice, it makes one."""
    key = f"page:{request.form.get('once', '')[:64]}"
    return Once(signed().actor.person_id or 0, key, hashlib.sha256(said).hexdigest())


def _time(value: datetime | str) -> datetime:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.astimezone(whole().settings.zone)


def moment(value: datetime | str | None) -> str:
    """A time as people see it, to the second."""
    return f"{_time(value):%Y-%m-%d %H:%M:%S}" if value else ""


def clock(value: datetime | str | None) -> str:
    """A time of today."""
    return f"{_time(value):%H:%M}" if value else ""


def day(value: datetime | str | None) -> str:
    """A day."""
    return f"{_time(value):%Y-%m-%d}" if value else ""


pages.register_error_handler(BlankformsError, refused)
