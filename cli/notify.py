"""notify add, list, test, disable, enable, rotate, deliveries, redeliver: those who are told."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import typer

from cli.options import LARGEST_NUMBER, Json
from cli.runtime import opened, out, print_json, print_table, shown_time, tell
from config.exits import Exit
from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.states import DeliveryState, NotificationType, label
from tasks.notify import endpoints

ALL_EVENTS: Final = "all"
LONGEST_OVERLAP: Final = 720.0
"""Hours: a month with two secrets is no rotation any more."""

Number = Annotated[
    int, typer.Argument(min=1, max=LARGEST_NUMBER, help=t("通知地址号", "number of the endpoint"))
]


def register(app: typer.Typer) -> None:
    """Add the group `notify`."""
    group = typer.Typer(no_args_is_help=True)
    for name, command, text in (
        (
            "add",
            add,
            t("添加通知地址，显示其密钥(仅此一次)", "add an endpoint, show its secret once"),
        ),
        ("list", list_, t("通知地址", "endpoints")),
        ("test", send_test, t("立即发一条测试通知", "send a test notification now")),
        ("disable", disable, t("停止通知", "tell nothing any more")),
        ("enable", enable, t("恢复通知", "tell again")),
        ("rotate", rotate, t("更换密钥，新旧并用一段时间", "a new secret; both sign for a while")),
        ("deliveries", deliveries, t("通知记录", "what was told")),
        ("redeliver", redeliver, t("重新通知", "tell again")),
    ):
        group.command(name, help=text)(command)
    app.add_typer(group, name="notify")


def add(
    url: Annotated[str, typer.Argument(help="https://…")],
    events: Annotated[
        str,
        typer.Option(help=t("事件，以逗号分隔；all 为全部", "events separated by commas, or all")),
    ] = ALL_EVENTS,
    json: Json = False,
) -> None:
    """The secret is shown once: give it to the receiver."""
    with opened() as context:
        added = endpoints.add(context, url, _events(events))
    _show_secret(added, json=json)


def rotate(
    endpoint: Number,
    overlap_hours: Annotated[
        float,
        typer.Option(
            min=0, max=LONGEST_OVERLAP, help=t("新旧密钥并用多少小时", "hours with both secrets")
        ),
    ] = 24,
    json: Json = False,
) -> None:
    """A new secret; until the overlap ends, each notification is signed with both."""
    with opened() as context:
        added = endpoints.rotate(context, endpoint, timedelta(hours=overlap_hours))
    _show_secret(added, json=json)


def _show_secret(added: endpoints.Added, *, json: bool) -> None:
    if json:
        print_json({"endpoint": added.endpoint_id, "secret": added.secret})
        return
    out().print(
        t(f"通知地址 {added.endpoint_id}", f"endpoint {added.endpoint_id}")
        + t("  密钥(只显示这一次): ", "  secret (shown once): ")
        + added.secret,
        markup=False,
    )


def _events(text: str) -> list[NotificationType]:
    if text.strip() == ALL_EVENTS:
        return list(endpoints.SUBSCRIBABLE)
    known = {kind.value: kind for kind in endpoints.SUBSCRIBABLE}
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        said, usable = ", ".join(unknown) or text, ", ".join(known)
        raise BadArgument(
            detail=t(
                f"--events 不认识“{said}”，可用: {usable}",
                f'--events does not know "{said}"; use {usable}',
            )
        )
    return [known[name] for name in wanted]


def list_(json: Json = False) -> None:
    """Never shows a secret."""
    with opened() as context, context.database.read() as session:
        found = endpoints.list_endpoints(session)
    if json:
        print_json({"endpoints": found})
        return
    print_table(
        (t("号", "no."), "URL", t("事件", "events"), t("状态", "state"), t("待送达", "pending")),
        (
            (
                e["endpoint"],
                e["url"],
                ", ".join(e["events"]),
                t("启用", "active")
                if e["active"]
                else t("停用", "disabled") + f" {e['disabled_reason'] or ''}",
                e["pending"],
            )
            for e in found
        ),
    )


def send_test(endpoint: Number, json: Json = False) -> None:
    """Exit code 69 when it was not taken."""
    with opened() as context:
        delivery = endpoints.send_test(context, endpoint)
    taken = delivery.state is DeliveryState.DELIVERED
    detail = delivery.last_detail or ""
    if json:
        print_json({"delivered": taken, "status": delivery.last_status, "detail": detail})
    else:
        word = label(DeliveryState.DELIVERED) if taken else label(DeliveryState.FAILED)
        tell(f"{word}  {delivery.last_status or ''} {detail}".rstrip())
    if not taken:
        raise typer.Exit(Exit.UNREACHABLE)


def disable(endpoint: Number, json: Json = False) -> None:
    """What waits for it is kept."""
    with opened() as context:
        endpoints.set_active(context, endpoint, active=False, reason="notify disable")
    _tell_active(endpoint, active=False, json=json)


def enable(endpoint: Number, json: Json = False) -> None:
    """What waited for it is sent."""
    with opened() as context:
        endpoints.set_active(context, endpoint, active=True)
    _tell_active(endpoint, active=True, json=json)


def _tell_active(endpoint: int, *, active: bool, json: bool) -> None:
    if json:
        print_json({"endpoint": endpoint, "active": active})
        return
    tell(t("已启用", "enabled") if active else t("已停用", "disabled"))


def deliveries(
    endpoint: Annotated[int | None, typer.Option(help=t("只看该地址", "this endpoint"))] = None,
    state: Annotated[DeliveryState | None, typer.Option(help=t("状态", "state"))] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    json: Json = False,
) -> None:
    """Newest first."""
    with opened() as context, context.database.read() as session:
        found = endpoints.list_deliveries(session, endpoint, state, limit)
        zone = context.settings.zone
    if json:
        print_json({"deliveries": found})
        return
    print_table(
        (t("号", "no."), t("地址", "endpoint"), t("事件", "event"), t("批次", "batch"),
         t("状态", "state"), t("次数", "tries"), t("最近答复", "last answer"), t("下次", "next try")),
        (
            (d["delivery"], d["endpoint"], d["type"], d["batch"], label(DeliveryState(d["state"])),
             d["attempts"], d["status"] or d["detail"],
             shown_time(d["next_attempt_at"], zone) if d["next_attempt_at"] else "")
            for d in found
        ),
    )  # fmt: skip


def redeliver(
    numbers: Annotated[
        list[int] | None,
        typer.Argument(min=1, max=LARGEST_NUMBER, help=t("通知记录号", "numbers of deliveries")),
    ] = None,
    failed_of: Annotated[
        int | None,
        typer.Option(
            "--failed-of", help=t("该地址所有未能送达的", "all that failed of an endpoint")
        ),
    ] = None,
    json: Json = False,
) -> None:
    """The same body under the same id, with the secret of now."""
    if bool(numbers) == (failed_of is not None):
        raise BadArgument(
            detail=t("请给出记录号，或 --failed-of 地址号", "numbers, or --failed-of")
        )
    with opened() as context:
        count = endpoints.redeliver(context, numbers or [], failed_of)
    if json:
        print_json({"redelivered": count})
        return
    tell(t(f"将重新通知 {count} 条", f"{count} will be told again"))
