"""config, doctor, template, db upgrade, simulator, up, demo."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json
from cli.runtime import opened, out, print_json, print_table, settings, tell
from config.errors import ConfigurationError
from config.exits import Exit
from models.rules.language import t
from sheets.template import write_template


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("template")(template)
    app.command("config")(config)
    app.command("doctor")(doctor)
    app.command("up")(up)
    app.command("demo")(demo)
    app.command("simulator")(simulator)
    app.command("backup")(backup)
    app.command("restore")(restore)
    db = typer.Typer(no_args_is_help=True)
    db.command("upgrade", help=t("建立或升级表结构", "create or upgrade the schema"))(db_upgrade)
    app.add_typer(db, name="db")


def template(
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.xlsx")],
) -> None:
    """An empty order sheet with examples and notes."""
    write_template(output)
    tell(t(f"已写出模板: {output}", f"template written: {output}"))


def config(json: Json = False) -> None:
    """Every setting by its environment name."""
    shown = settings().shown()
    if json:
        print_json(shown)
        return
    print_table((t("设置", "setting"), t("值", "value")), shown.items())


def doctor(
    deep: Annotated[
        bool, typer.Option("--deep", help=t("核对全部不变量", "check invariants"))
    ] = False,
    wait: Annotated[
        int,
        typer.Option(
            "--wait",
            min=0,
            max=3600,
            help=t("最多等待几秒直到一切就绪", "seconds to wait until all is well"),
        ),
    ] = 0,
    json: Json = False,
) -> None:
    """Everything that must work for a batch to get through; whether an order can be carried out now."""
    from cli.doctor import BAD, examine

    end = time.monotonic() + wait
    with opened() as context:
        findings = list(examine(context, deep=deep))
        while time.monotonic() < end and any(f.verdict == BAD for f in findings):
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))
            findings = list(examine(context, deep=deep))
    if json:
        print_json({"checks": [f.shown() for f in findings]})
    else:
        print_table(
            (t("项目", "check"), t("结果", "result"), t("说明", "detail")),
            ((str(f.name), f.verdict, f.detail) for f in findings),
        )
    bad = [f.exit for f in findings if f.verdict == BAD]
    if bad:  # what nothing else can be mended before, configuration and card, has the highest
        raise typer.Exit(max(bad))


def db_upgrade() -> None:
    """Bring the database to the version of this program, and write down whose it is."""
    from models.tables.schema import HEAD, upgrade
    from tasks.home import prepare_home
    from tasks.opening import connect, require_deployment

    chosen = settings()
    prepare_home(chosen)
    database = connect(chosen)
    try:
        copy = upgrade(database)
        if copy:
            tell(t(f"升级前的数据库已另存: {copy}", f"the database as it was before: {copy}"))
        tell(t(f"表结构已是最新({HEAD})", f"schema is at {HEAD}"))
        require_deployment(database, chosen)
    finally:
        database.close()


def backup(
    folder: Annotated[Path, typer.Argument(help=t("备份放在此目录下", "where backups are kept"))],
) -> None:
    """Database, send journal, anchors and keys into a folder of their own."""
    from tasks.backup import back_up

    made = back_up(settings(), folder.absolute(), datetime.now(UTC))
    tell(t(f"已备份: {made}", f"backed up: {made}"))


def restore(
    source: Annotated[Path, typer.Argument(help=t("备份的目录", "the folder of a backup"))],
) -> None:
    """Into a home and a database that hold nothing; a send journal that is there stays."""
    from tasks.backup import restore as bring_back

    live = bring_back(settings(), source.absolute(), datetime.now(UTC))
    tell(t(f"已恢复: {source}", f"restored: {source}"))
    told = t(
        "发送前请运行 blankforms reconcile、处理差异，再运行 blankforms journal accept",
        'before anything is sent: "blankforms reconcile", the repair, "blankforms journal accept"',
    )
    if live:
        told = t(
            "原有的发送日志已保留；若它比备份新，发送前须先对账(blankforms journal)",
            'the send journal that was there stays; if it is newer, reconcile first ("blankforms journal")',
        )
    tell(told)


def simulator(
    stock: Annotated[
        list[Path] | None, typer.Option(help=t("领用登记表，可多次", "issued ranges (sheet)"))
    ] = None,
    certificates: Annotated[
        list[Path] | None, typer.Option(help=t("证书表，可多次", "certificates (sheet)"))
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(help=t("另外信任的签名证书(PEM)", "more trusted certificates (PEM)")),
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(help=t("故障脚本(JSON)", "fault script (JSON)"))
    ] = None,
) -> None:
    """Customs by the contract, with a ledger of its own; never the real one."""
    from cli.simulation import run_simulator

    if settings().blankforms_env == "production":
        raise ConfigurationError(
            t(
                "BLANKFORMS_ENV=production: 生产环境不运行模拟海关",
                "BLANKFORMS_ENV=production: the simulator does not run in production",
            )
        )
    run_simulator(settings(), stock or [], certificates or [], trust or [], faults)


def up() -> None:
    """Embedded parts as needed, then every line of the Procfile; Ctrl-C stops all."""
    from cli.up import run_system

    raise typer.Exit(run_system(settings()))


def demo(
    stay: Annotated[
        bool,
        typer.Option("--stay", help=t("留着页面供试用", "leave the console open to be tried")),
    ] = False,
) -> None:
    """Start everything in a folder of its own, do a batch from the samples, stop everything."""
    from cli.demo import run_demo

    if run_demo(stay=stay) != 0:
        raise typer.Exit(Exit.FAILURE)
    out().print(t("演示完成", "demonstration done"))
    if not stay:
        out().print(
            t("在页面上试用: blankforms demo --stay", 'to try the pages: "blankforms demo --stay"')
        )
