"""person, key, grace, acts: who may do what, for how long it can be taken back, and what was done."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from cli.options import LARGEST_NUMBER, Json
from cli.runtime import opened, out, print_json, print_table, shown_time, tell
from config.exits import Exit
from models.reads.deployment import known_grace
from models.reads.people import flaw_of_acts, list_acts, list_keys, list_persons
from models.rules.errors import BadArgument
from models.rules.grace import LONGEST_MINUTES, Grace
from models.rules.language import t
from models.rules.people import CHANNEL_WORDS, DEED_WORDS, ROLE_WORDS, Channel, Deed, Role, Scope
from models.rules.sign_in import ONE_TIME_HOURS
from tasks.people import grace as graces
from tasks.people import keys, passwords, persons

Login = Annotated[str, typer.Argument(help=t("登录名", "login"))]
Roles = Annotated[
    list[Role] | None,
    typer.Option(
        "--role",
        help=t(
            "角色，可多次: maker 录入 checker 复核 administrator 管理 auditor 审计",
            "may be given again: maker, checker, administrator, auditor",
        ),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the groups `person`, `key` and `grace`, and `acts`."""
    person = typer.Typer(no_args_is_help=True)
    person.command("add", help=t("登记人员", "add a person"))(person_add)
    person.command("list", help=t("人员", "persons"))(person_list)
    person.command("roles", help=t("改角色", "another set of roles"))(person_roles)
    person.command("disable", help=t("停用人员", "let nobody act as them any more"))(person_disable)
    person.command("enable", help=t("恢复人员", "let them act again"))(person_enable)
    person.command("limit", help=t("限定企业", "the enterprises that they work for"))(person_limit)
    person.command("password", help=t("给一次性口令", "a one-time password"))(person_password)
    app.add_typer(person, name="person")
    key = typer.Typer(no_args_is_help=True)
    key.command("create", help=t("建密钥，只显示一次", "make a key, shown once"))(key_create)
    key.command("list", help=t("密钥", "keys"))(key_list)
    key.command("revoke", help=t("废除密钥", "end a key"))(key_revoke)
    app.add_typer(key, name="key")
    grace = typer.Typer(no_args_is_help=True)
    grace.command("show", help=t("撤回期", "for how long orders can be taken back"))(grace_show)
    grace.command("set", help=t("设撤回期", "set it"))(grace_set)
    app.add_typer(grace, name="grace")
    app.command("acts", help=t("操作日志", "the log of what was done"))(acts)


# -- persons ------------------------------------------------------------------------------------


def person_add(
    login: Login,
    name: Annotated[str, typer.Option("--name", help=t("姓名", "name"))] = "",
    role: Roles = None,
    admin: Annotated[
        bool,
        typer.Option(
            "--admin",
            help=t(
                "管理员，并给一次性口令；已有的管理员只给口令",
                "an administrator, with a one-time password",
            ),
        ),
    ] = False,
    json: Json = False,
) -> None:
    """The name stands with every order and act; a login is never used again.

    With --admin of somebody who is an administrator already: a new one-time password, the way back in.
    """
    roles = {*(role or []), *([Role.ADMINISTRATOR] if admin else [])}
    if not roles:
        raise BadArgument(detail=t("至少给出一个 --role", "give at least one --role"))
    password, request, waits = None, None, None
    with opened() as context:
        if not (admin and not name and persons.is_administrator(context, login)):
            request = persons.add_person(context, login, name, roles)
        if admin and request is None:
            password, waits = passwords.give_one_time(context, login)
    if json:
        said = {"person": login.strip(), "roles": sorted(roles), "endorsement": request or waits}
        print_json(said | ({"one_time_password": password} if password else {}))
        return
    if _waits(request):
        return
    if name:
        tell(t(f"已登记 {name}({login})", f"added {name} ({login})"))
    if password:
        _print_password(password, waits)


def person_list(json: Json = False) -> None:
    """All of them, the disabled too."""
    with opened() as context, context.database.read() as session:
        found = list(list_persons(session))
    if json:
        print_json({"persons": found})
        return
    print_table(
        (t("登录名", "login"), t("姓名", "name"), t("角色", "roles"), t("状态", "state")),
        (
            (
                p["login"],
                p["name"],
                " ".join(str(ROLE_WORDS[Role(r)]) for r in p["roles"]),
                t("停用", "disabled") if p["disabled"] else t("启用", "active"),
            )
            for p in found
        ),
    )


def person_roles(login: Login, role: Roles = None) -> None:
    """These and no others; none at all lets a person only look."""
    with opened() as context:
        request = persons.set_roles(context, login, role or [])
    if not _waits(request):
        tell(t(f"已改: {login}", f"changed: {login}"))


def person_disable(login: Login) -> None:
    """Their keys end at once; what they ordered goes on."""
    with opened() as context:
        request = persons.set_disabled(context, login, disabled=True)
    if not _waits(request):
        tell(t(f"已停用: {login}", f"disabled: {login}"))


def person_enable(login: Login) -> None:
    """Keys that were not revoked work again."""
    with opened() as context:
        request = persons.set_disabled(context, login, disabled=False)
    if not _waits(request):
        tell(t(f"已恢复: {login}", f"active again: {login}"))


def person_limit(
    login: Login,
    principal: Annotated[
        list[str] | None,
        typer.Option("--principal", help=t("企业代码，可多次", "code, may be given again")),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help=t("不限", "no limit"))] = False,
) -> None:
    """Of others they see and move nothing: forms, certificates, batches, files, events."""
    if everything == bool(principal):
        raise BadArgument(detail=t("给出 --principal 或 --all", "give --principal or --all"))
    with opened() as context:
        request = persons.set_principals(context, login, None if everything else principal)
    if not _waits(request):
        tell(t(f"已改: {login}", f"changed: {login}"))


def person_password(login: Login, json: Json = False) -> None:
    """Shown this once; whoever signs in by it chooses their own. Ends their second factor and all sign-ins."""
    with opened() as context:
        password, request = passwords.give_one_time(context, login)
    if json:
        print_json({"one_time_password": password, "endorsement": request})
        return
    _print_password(password, request)


def _print_password(password: str, request: int | None) -> None:
    _waits(request)
    out().print(
        t(
            f"一次性口令(只显示这一次，{ONE_TIME_HOURS} 小时内登录并改为自己的): ",
            f"one-time password (shown once; sign in and choose your own within {ONE_TIME_HOURS} h): ",
        )
        + password,
        markup=False,
    )


def _waits(request: int | None) -> bool:
    """Say that a second person is asked; whether one is."""
    if request is not None:
        tell(t(f"已送复核: {request}", f"waits for a second person: {request}"))
    return request is not None


# -- keys ---------------------------------------------------------------------------------------


def key_create(
    owner: Login,
    scope: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help=t("范围，可多次", "may be given again")),
    ] = None,
    note: Annotated[str, typer.Option("--note", help=t("用途", "what for"))] = "",
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3650, help=t("有效天数", "days it lasts"))
    ] = None,
    json: Json = False,
) -> None:
    """The key is shown this once: put it into a file that its program alone can read (BLANKFORMS_KEY_FILE)."""
    with opened() as context:
        end = context.now() + timedelta(days=days) if days else None
        made = keys.make_key(context, owner, scope or [], note, end)
    if json:
        print_json({"id": made.public, "key": made.key})
        return
    out().print(t("密钥(只显示这一次): ", "key (shown once): ") + made.key, markup=False)


def key_list(json: Json = False) -> None:
    """Never shows a key."""
    with opened() as context, context.database.read() as session:
        found = list(list_keys(session))
        zone = context.settings.zone
    if json:
        print_json({"keys": found})
        return

    def moment(text: str | None) -> str:
        return shown_time(text, zone) if text else "-"

    print_table(
        (t("密钥号", "key"), t("所有人", "owner"), t("范围", "scopes"), t("用途", "what for"),
         t("最近使用", "last used"), t("到期", "ends"), t("废除", "revoked")),
        (
            (k["key"], k["owner"], " ".join(k["scopes"]), k["note"], moment(k["last_used_at"]),
             moment(k["expires_at"]), moment(k["revoked_at"]))
            for k in found
        ),
    )  # fmt: skip


def key_revoke(key: Annotated[str, typer.Argument(help=t("密钥号", "id of the key"))]) -> None:
    """At once, for ever."""
    with opened() as context:
        keys.revoke_key(context, key)
    tell(t(f"已废除: {key}", f"revoked: {key}"))


# -- grace --------------------------------------------------------------------------------------

Minutes = Annotated[
    int | None,
    typer.Option(min=0, max=LONGEST_MINUTES, help=t("分钟，0 为没有", "minutes, 0: none")),
]


def grace_show(json: Json = False) -> None:
    """Minutes between confirmation and the first message."""
    with opened() as context, context.database.read() as session:
        known = known_grace(session)
    _print_grace(known, json=json)


def grace_set(verify: Minutes = None, void: Minutes = None, json: Json = False) -> None:
    """For orders that are confirmed from now on."""
    if verify is None and void is None:
        raise BadArgument(detail=t("给出 --verify 或 --void", "give --verify or --void"))
    with opened() as context:
        known = graces.set_grace(context, verify, void)
    _print_grace(known, json=json)


def _print_grace(known: Grace, *, json: bool) -> None:
    if json:
        print_json({"grace_minutes": {"verify": known.verify, "void": known.void}})
        return
    out().print(
        t(
            f"撤回期: 核销 {known.verify} 分钟，作废 {known.void} 分钟",
            f"orders can be taken back for {known.verify} minutes (verify), {known.void} (void)",
        )
    )


# -- acts ---------------------------------------------------------------------------------------


def acts(
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    before: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST_NUMBER, help=t("此号以前的", "below this number")),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help=t("校验整个日志", "see that nothing was changed"))
    ] = False,
    json: Json = False,
) -> None:
    """Newest first. Exit code 3 when the log is not as it was written."""
    with opened() as context, context.database.read() as session:
        found = list_acts(session, limit, before)
        flaw = flaw_of_acts(session) if verify else None
        zone = context.settings.zone
    if json:
        print_json({"acts": found, **({"first_flaw": flaw} if verify else {})})
    else:
        print_table(
            (t("号", "no."), t("时间", "at"), t("何人", "who"), t("途径", "by"), t("何事", "what"),
             t("对象", "about")),
            (
                (a["number"], shown_time(a["at"], zone), a["actor"] + ("" if a["proved"] else " *"),
                 str(CHANNEL_WORDS[Channel(a["channel"])]), str(DEED_WORDS[Deed(a["deed"])]),
                 a["about"])
                for a in found
            ),
        )  # fmt: skip
        tell(t("* 系统账号，未经证明", "* an account, not proved"))
        if verify and flaw is None:
            tell(t("日志完整", "the log is whole"))
    if flaw is not None:
        tell(t(f"日志自第 {flaw} 条起不完整", f"the log is not whole from no. {flaw} on"))
        raise typer.Exit(Exit.PROBLEMS)
