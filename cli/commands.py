"""All commands by name. The module of a command is imported when it is used: the help of all needs none.

Imported after the language is chosen: help texts are in it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from models.rules.language import Text, t

COMMANDS: Final = {
    "sync": ("imports", Text("从海关取证书和库存", "take customs' certificates and stock")),
    "check": ("orders", Text("预检：不预占、不提交", "dry run: reserves nothing")),
    "submit": ("orders", Text("预检、确认并提交表格", "check, confirm and submit a sheet")),
    "verify": ("orders", Text("核销一份证书的空白证单", "verify forms of one certificate")),
    "void": ("orders", Text("作废一份证书的空白证单", "void forms of one certificate")),
    "forms": ("lists", Text("空白证单查询", "list forms")),
    "form": ("lists", Text("一张证单的经历与回执", "one form: history and receipts")),
    "refresh": ("lists", Text("刷新：现在就问海关", "ask customs now")),
    "stock": ("stock", Text("库存：登记、同步、结存、停用、遗失、盘点", "stock")),
    "register": ("stock", Text("台账", "the register")),
    "certificates": ("imports", Text("证书：导入、同步、查询", "certificates: import, sync, list")),
    "layouts": ("layouts", Text("记住的表格列含义", "remembered columns")),
    "batch": ("batches", Text("批次：列表、明细、结果表、取消", "batches")),
    "reconcile": ("night", Text("对账：与海关逐张核对", "compare every form with customs")),
    "audit": ("night", Text("审计", "audit")),
    "person": ("people", Text("人员与角色", "persons and their roles")),
    "key": ("people", Text("密钥：供程序以人的身份办理", "keys by which programs act as persons")),
    "grace": ("people", Text("撤回期", "for how long orders can be taken back")),
    "acts": ("people", Text("操作日志", "the log of what was done")),
    "endorse": ("endorsing", Text("复核通过", "say yes as the second person")),
    "reject": ("endorsing", Text("驳回", "say no as the second person")),
    "endorsements": ("endorsing", Text("待复核", "what waits for a second person")),
    "rules": ("endorsing", Text("何时须复核", "when a second person is asked for")),
    "discrepancies": ("discrepancies", Text("待办差异：查看、结清", "what a person must look at")),
    "quarantine": (
        "quarantine",
        Text(
            "待认领回执：查看、重新处理、搁置",
            "receipts that fit nothing: look, apply again, dismiss",
        ),
    ),
    "journal": ("journal", Text("发送日志：恢复备份之后", "send journal: after a restored backup")),
    "notify": ("notify", Text("通知：告知等待结果的系统", "notifications")),
    "customs": ("customs", Text("对接的海关", "which customs this is")),
    "line": ("customs", Text("到海关的线路", "the line to customs")),
    "adopt-customs": (
        "customs",
        Text("改用另一海关(尚未发过报文)", "another customs, before anything was sent"),
    ),
    "template": ("system", Text("写出空白模板", "write an empty sheet")),
    "config": ("system", Text("显示设置(密钥遮盖)", "show settings, secrets masked")),
    "doctor": ("system", Text("自检", "check database, broker, gateway, card, queues")),
    "up": ("system", Text("在本终端运行整个系统", "run the whole system here")),
    "demo": ("system", Text("演示", "a demonstration, start to end")),
    "simulator": ("system", Text("运行模拟海关", "run the simulator of customs")),
    "backup": ("system", Text("备份(可在运行时)", "back up, running or not")),
    "restore": ("system", Text("恢复备份到空的系统", "restore into an empty system")),
    "db": ("system", Text("数据库", "database")),
}
"""Each command or group of commands: the module that has it, and what it is for."""


class _Command(TyperCommand):
    """A command by its name; its module is imported when the command is run, or asked for its own help."""

    def make_context(self, *given: Any, **more: Any) -> Any:
        """The context of the real command."""
        module = import_module(f"cli.{COMMANDS[self.name or ''][0]}")
        of_module = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
        module.register(of_module)
        command = get_group(of_module).commands[self.name or ""]
        command.help = self.help
        return command.make_context(*given, **more)


class _Commands(TyperGroup):
    """All of them."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, (_, text) in COMMANDS.items():
            self.add_command(_Command(name, help=str(text), rich_markup_mode=None))


app = typer.Typer(
    cls=_Commands,
    help=t(
        "空白证单批量核销与作废。加 --lang en 显示英文。",
        "Verify and void blank certificate-of-origin forms in bulk. --lang zh for Chinese.",
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blankforms {version('blankforms')}")
        raise typer.Exit


@app.callback()
def blankforms(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help=t("版本号", "the version")
        ),
    ] = False,
) -> None:
    """Options of the program itself."""
