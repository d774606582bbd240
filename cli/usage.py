"""Runs the commands, and says in the person's language what is wrong with how one was written."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import typer

from config.exits import Exit
from models.rules.language import Language, current_language, t

_USAGE: Final[Any] = typer.BadParameter.__base__
"""Every error about options and arguments; typer names only one of them itself."""

_NO_COMMAND: Final = re.compile(r"No such command '(.*?)'")
_EXTRA: Final = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)")
_ONE_OF: Final = re.compile(r"is not one of (.*?)\.?$")


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run one command; gives its exit code."""
    try:
        result = app(args=arguments, prog_name="blankforms", standalone_mode=False)
    except typer.Abort:
        sys.stderr.write(t("已中止", "aborted") + "\n")
        return int(Exit.FAILURE)
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
        else:
            sys.stderr.write(f"{_said(error)}\n{_help(error)}\n")
        return int(Exit.USAGE)
    return result if isinstance(result, int) else int(Exit.DONE)


def _help(error: Any) -> str:
    path = error.ctx.command_path if error.ctx is not None else "blankforms"
    return t(f"用法见: {path} --help", f"see: {path} --help")


def _value(message: str) -> str:
    if "valid integer" in message or "valid int" in message:
        return "应为整数"
    choices = _ONE_OF.search(message)
    return f"应为 {choices[1]} 之一" if choices else message


def _said(error: Any) -> str:
    message = str(error.format_message())
    if current_language() is not Language.ZH:
        return message
    if found := _NO_COMMAND.search(message):
        return f"没有命令 {found[1]}"
    if found := _EXTRA.search(message):
        return f"多余的参数: {found[1]}"
    param = getattr(error, "param", None)
    name = " / ".join([*param.opts, *param.secondary_opts]) if param is not None else ""
    match type(error).__name__:
        case "NoSuchOption":
            return f"没有选项 {error.option_name}"
        case "MissingParameter":
            return f"缺少 {name or getattr(error, 'param_hint', '') or '参数'}"
        case "BadParameter":
            return f"{name} 的值不对: {_value(str(error.message))}"
    return f"命令写法有误: {message}"
