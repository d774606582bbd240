"""Sign in and out, choose a password, set up a second factor, see where one is signed in."""

from __future__ import annotations

from typing import Final

import segno
from flask import Response, request, url_for

from console.pages.door import (
    COOKIE,
    LANGUAGE,
    acting,
    moved,
    page,
    pages,
    safe_target,
    shown_once,
    signed,
    whole,
)
from models.reads.people import list_keys
from models.reads.sign_ins import list_sign_ins
from models.rules.errors import BlankformsError, Kind
from models.rules.language import Language
from models.rules.people import SCOPE_WORDS, Scope
from tasks.people import oidc, passwords, second_factor, sign_ins


@pages.get("/")
def home() -> Response:
    """The first of the portal's two pages."""
    return moved("pages.certificates")


@pages.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """账号登录."""
    target = safe_target(request.values.get("next", "/"))
    if request.method == "GET":
        return page("login.html", target=target, error=None, given="")
    given = request.form.get("login", "")[:64]
    try:
        token = sign_ins.sign_in(
            whole(),
            given,
            request.form.get("password", ""),
            request.form.get("code", ""),
            _browser(),
        )
    except BlankformsError as error:
        status = 429 if error.kind is Kind.NOT_NOW else 403
        return page("login.html", status, target=target, error=error, given=given)
    return with_cookie(Response(status=303, headers={"Location": target}), token)


def with_cookie(answer: Response, token: str) -> Response:
    """The token of a sign-in goes to the browser, for our own pages alone and for no script."""
    answer.set_cookie(
        COOKIE, token, httponly=True, samesite="Lax", secure=request.is_secure, path="/"
    )
    return answer


_OIDC_COOKIE: Final = "blankforms_oidc"


def _way_back() -> str:
    """Where the provider sends the browser: the same in both calls, and registered there."""
    return url_for("pages.login_oidc_back", _external=True)


@pages.get("/login/oidc")
def login_oidc() -> Response:
    """To the provider of the enterprise."""
    try:
        begun = oidc.begin(whole(), _way_back())
    except BlankformsError as error:
        return page("login.html", 503, target="/", error=error, given="")
    answer = Response(status=303, headers={"Location": begun.url})
    answer.set_cookie(
        _OIDC_COOKIE, begun.kept, max_age=int(oidc.LASTS.total_seconds()), httponly=True, samesite="Lax",
        secure=request.is_secure, path="/login/oidc",
    )  # fmt: skip
    return answer


@pages.get("/login/oidc/back")
def login_oidc_back() -> Response:
    """Back from the provider: whoever it names is signed in, where they are a person here."""
    kept, args = request.cookies.get(_OIDC_COOKIE, ""), request.args
    try:
        person = oidc.finish(
            whole(), kept, args.get("state", ""), args.get("code", ""), _way_back()
        )
        token = sign_ins.begin(whole(), person, _browser())
    except BlankformsError as error:
        answer = page(
            "login.html",
            503 if error.kind is Kind.NOT_NOW else 403,
            target="/",
            error=error,
            given="",
        )
    else:
        answer = with_cookie(Response(status=303, headers={"Location": "/"}), token)
    answer.delete_cookie(_OIDC_COOKIE, path="/login/oidc")
    return answer


def _browser() -> sign_ins.Browser:
    return sign_ins.Browser(request.remote_addr or "", request.headers.get("User-Agent", ""))


@pages.post("/logout")
def logout() -> Response:
    """退出: here, or everywhere."""
    if "everywhere" in request.form:
        sign_ins.sign_out_everywhere(acting())
    else:
        sign_ins.sign_out(acting())
    answer = moved("pages.login")
    answer.delete_cookie(COOKIE)
    answer.headers["Clear-Site-Data"] = '"cache"'  # what Back would show; by https alone
    return answer


@pages.post("/language")
def speak() -> Response:
    """The other language, and back to where one was."""
    wanted = Language.EN if request.form.get("to") == "en" else Language.ZH
    target = safe_target(request.form.get("next", "/"))
    answer = Response(status=303, headers={"Location": target})
    answer.set_cookie(
        LANGUAGE, wanted.value, max_age=365 * 86400, samesite="Lax", secure=request.is_secure
    )
    return answer


@pages.route("/me/password", methods=["GET", "POST"])
def password() -> Response:
    """An own password."""
    if request.method == "GET":
        return page("password.html", error=None)
    form = request.form
    try:
        if form.get("chosen") != form.get("again"):
            return page("password.html", 422, error=None, differ=True)
        passwords.choose(acting(), form.get("current", ""), form.get("chosen", ""))
    except BlankformsError as error:
        return page("password.html", 422, error=error)
    return moved("pages.me", said="password")


@pages.get("/me")
def me() -> Response:
    """我的账号."""
    return show_me()


def show_me(error: BlankformsError | None = None, made: str | None = None) -> Response:
    """The own account; `made`: a new key, shown this once."""
    context = acting()
    with context.database.read() as session:
        lasting = sign_ins.lasting_of(context)
        person_id = context.actor.person_id or 0
        found = list(list_sign_ins(session, person_id, context.now(), lasting))
        own = list(list_keys(session, person_id=person_id))
        on = second_factor.is_on(session, context.actor)
    answer = page("me.html", 422 if error else 200, sign_ins=found, keys=own, on=on, error=error, made=made,
                  scopes=SCOPE_WORDS, scope_of=Scope, this=context.actor.sign_in_id)  # fmt: skip
    return shown_once(answer, made or "")


@pages.route("/me/second-factor", methods=["GET", "POST"])
def factor() -> Response:
    """动态码: on with the secret shown, off with a last code."""
    context, error = acting(), None
    if request.method == "POST":
        try:
            turn = second_factor.turn_off if "off" in request.form else second_factor.turn_on
            turn(context, request.form.get("code", ""))
        except BlankformsError as refused:
            error = refused
        else:
            return moved("pages.me", said="factor")
    with context.database.read() as session:
        on = second_factor.is_on(session, context.actor)
    try:
        secret, address = ("", "") if on else second_factor.offered(context)
    except BlankformsError as refused:
        return page(
            "factor.html", 422, on=on, secret="", picture="", error=refused, login=signed().login
        )
    picture = segno.make(address).svg_data_uri(scale=5, border=2) if address else ""
    answer = page("factor.html", 422 if error else 200, on=on, secret=secret, picture=picture, error=error,
                  login=signed().login)  # fmt: skip
    return shown_once(answer, secret)
