"""设置: persons and their roles, keys, the rules of two persons, the grace, layouts, and the state of the system."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from flask import Response, request

from console.pages.door import acting, moved, page, pages, shown_once, signed
from console.pages.signing_in import show_me
from models.reads.deployment import known_grace
from models.reads.endorsements import able_persons, known_rules
from models.reads.people import list_acts, list_persons
from models.rules.errors import BadArgument, BlankformsError
from models.rules.language import t
from models.rules.people import CHANNEL_WORDS, DEED_WORDS, ROLE_WORDS, Channel, Deed, Role, Scope
from models.rules.two_persons import Rules
from tasks.orders import layouts
from tasks.people import grace as graces
from tasks.people import keys, passwords, persons, rules

_ACTS: Final = 50
"""The newest acts that the page shows; `acts` has all."""


@pages.get("/settings")
def settings() -> Response:
    """Everybody may look; who may change is asked where it is changed."""
    return _settings()


def _settings(
    error: BlankformsError | None = None,
    password: str = "",
    waits: int | None = None,
    given_to: str = "",
) -> Response:
    context = acting()
    whole = context.sight is None  # of others a limited person sees nothing
    with context.database.read() as session:
        version, known = known_rules(session)
        values = {
            "persons": [p for p in list_persons(session) if whole or p["login"] == signed().login],
            "version": version,
            "rules": known,
            "able_persons": able_persons(session),
            "grace": known_grace(session),
            "acts": list_acts(session, _ACTS) if whole else [],
        }
    answer = page("settings.html", 422 if error else 200, error=error, password=password, waits=waits,
                given_to=given_to, about_words=about_words, layouts=layouts.list_layouts(context) if whole else [],
                role_words=ROLE_WORDS, deed_words=DEED_WORDS,
                channel_words=CHANNEL_WORDS, deed_of=Deed, channel_of=Channel, role_of=Role,
                said=request.args.get("said"), **values)  # fmt: skip
    return shown_once(answer, password)


def about_words(about: str) -> str:
    """What an act was about; the log keeps it in one language."""
    kind, _, number = about.partition(" ")
    known = {
        "batch": t("作业", "job"),
        "rules": t("复核规则", "rules"),
        "grace": t("撤回期", "grace"),
    }
    return f"{known.get(kind, kind)} {number}".strip()


@pages.post("/settings/persons")
def change_person() -> Response:
    """Add a person, give roles, a one-time password, limits; disable and enable them."""
    context, form = acting(), request.form
    login, do = form.get("login", "").strip(), form.get("do")
    roles = [Role(r) for r in form.getlist("role") if r in set(Role)]
    password, waits = "", None
    try:
        match do:
            case "add":
                waits = persons.add_person(context, login, form.get("name", ""), roles)
                if waits is None:
                    password, waits = passwords.give_one_time(context, login)
            case "roles":
                waits = persons.set_roles(context, login, roles)
            case "password":
                password, waits = passwords.give_one_time(context, login)
            case "limit":
                codes = form.get("principals", "").split()
                waits = persons.set_principals(context, login, codes or None)
            case "disable" | "enable":
                waits = persons.set_disabled(context, login, disabled=do == "disable")
            case _:
                raise BadArgument(detail=str(do))
    except BlankformsError as error:
        return _settings(error)
    if password or waits is not None:
        return _settings(password=password, waits=waits, given_to=login)
    return moved("pages.settings", said="done")


@pages.post("/settings/rules")
def change_rules() -> Response:
    """Other rules; once they are on they hold when a second person has endorsed them."""
    context, form = acting(), request.form
    try:
        with context.database.read() as session:
            _, before = known_rules(session)
        wanted: Rules = replace(
            before,
            on="on" in form,
            voids_per_batch=_number("voids_per_batch"),
            voids_per_day=_number("voids_per_day"),
            reasons=tuple(form.get("reasons", "").split()),
            again="again" in form,
            beyond_pages="beyond_pages" in form,
            people="people" in form,
            lost="lost" in form,
            contradictions="contradictions" in form,
            hours=_number("hours"),
        )
        waits = rules.set_rules(context, wanted)
    except BlankformsError as error:
        return _settings(error)
    return _settings(waits=waits) if waits is not None else moved("pages.settings", said="done")


@pages.post("/settings/grace")
def change_grace() -> Response:
    """For how long orders can be taken back."""
    try:
        graces.set_grace(acting(), _number("verify"), _number("void"))
    except BlankformsError as error:
        return _settings(error)
    return moved("pages.settings", said="done")


@pages.post("/settings/layouts")
def forget() -> Response:
    """Forget what columns of a layout were said to mean."""
    try:
        layouts.forget_layout(acting(), request.form.get("key", ""))
    except BlankformsError as error:
        return _settings(error)
    return moved("pages.settings", said="done")


@pages.post("/me/keys")
def change_key() -> Response:
    """A key of one's own, shown this once; or the end of one."""
    context, form = acting(), request.form
    try:
        if "revoke" in form:
            keys.revoke_key(context, form["revoke"])
            return moved("pages.me", said="revoked")
        scopes = [Scope(s) for s in form.getlist("scope") if s in set(Scope)]
        end = context.now() + timedelta(days=_number("days"))
        made = keys.make_key(context, signed().login, scopes, form.get("note", ""), end)
    except BlankformsError as error:
        return show_me(error)
    return show_me(made=made.key)


def _number(name: str) -> int:
    said = request.form.get(name, "").strip()
    if not (said.isdecimal() and said.isascii() and len(said) <= 5):  # noqa: PLR2004 - no setting is larger
        raise BadArgument(detail=t(f"不是数字: {said[:20]}", f"no number: {said[:20]}"))
    return int(said)
