"""The command `blankforms`: groups of commands, language, and errors as exit codes."""

from __future__ import annotations

import os
import sys

from cli.exits import exit_of
from config.errors import ConfigurationError
from config.exits import Exit
from config.language import chosen_language
from models.rules.errors import BlankformsError
from models.rules.language import Language, t, use_language


def main() -> None:
    """Run one command. Exit codes: see README, "exit codes"."""
    arguments = sys.argv[1:]
    use_language(_choose_language(arguments))
    try:
        from cli.commands import app  # texts of the help are chosen at import
        from cli.usage import run

        sys.exit(run(app, arguments))
    except BlankformsError as error:
        from cli.remedies import worded

        _fail(error.code, worded(error), exit_of(error), arguments)
    except ConfigurationError as error:
        text = t("配置有误: ", "bad configuration: ") + str(error)
        _fail("bad_configuration", text, Exit.CONFIGURATION, arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILURE)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback in front of a person
        import traceback
        from tempfile import mkstemp

        handle, path = mkstemp(prefix="blankforms-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        text = t(
            f"程序内部错误({type(error).__name__})，数据未丢失；详情在 {path}，请反馈给开发者",
            f"internal error ({type(error).__name__}), no data lost; details in {path}",
        )
        _fail("internal_error", text, Exit.FAILURE, arguments)


def _choose_language(arguments: list[str]) -> Language:
    """`--lang` anywhere on the line, else BLANKFORMS_LANG, else Chinese. Takes the option out."""
    chosen = ""
    for index, argument in enumerate(list(arguments)):
        if argument == "--lang" and index + 1 < len(arguments):
            chosen = arguments[index + 1]
            del arguments[index : index + 2]
            break
        if argument.startswith("--lang="):
            chosen = argument.removeprefix("--lang=")
            arguments.remove(argument)
            break
    if chosen not in {"", *Language}:
        sys.stderr.write(f"--lang zh | en: {chosen}\n")
        sys.exit(Exit.USAGE)
    by_setting = chosen_language()
    if by_setting not in {*Language}:
        by_setting = Language.ZH  # what is wrong with it is said by the command itself, in Chinese
    return Language(chosen or by_setting)


def _fail(code: str, text: str, exit_code: Exit, arguments: list[str]) -> None:
    from cli.runtime import print_json, printable

    if "--json" in arguments:
        print_json({"error": {"code": code, "message": text}})
    sys.stderr.write(
        f"{printable(text)}\n"
    )  # a name of a file, a text of customs: shown, not obeyed
    sys.exit(int(exit_code))


if __name__ == "__main__":
    main()
