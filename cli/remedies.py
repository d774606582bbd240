"""What a person at the command does about an error or a problem: options and commands, beside what happened."""

from __future__ import annotations

from typing import Final

from models.rules.errors import BlankformsError
from models.rules.language import Text
from models.rules.problems import Problem

_SHOW: Final = "blankforms batch show {batch}"
_BY_KEY: Final = Text("密钥文件见 BLANKFORMS_KEY_FILE", "the key's file: BLANKFORMS_KEY_FILE")
_ORDER_AGAIN: Final = Text("请加 --again --reason 说明", "add --again --reason")

ERROR_REMEDIES: Final = {
    "no_header_row": Text(
        "可用 blankforms template -o 模板.xlsx 取得模板",
        '"blankforms template -o FILE" writes a template',
    ),
    "file_submitted_before": Text("确需再次提交请加 --again", "use --again to submit it again"),
    "plan_moved": Text("预检: blankforms check", 'to check: "blankforms check"'),
    "rows_refused": Text("只提交无误的行: --only-valid", "valid rows alone: --only-valid"),
    "batch_not_open": Text(f"运行 {_SHOW} 查看", f'see "{_SHOW}"'),
    "batch_not_ended": Text("blankforms batch cancel {batch}", '"blankforms batch cancel {batch}"'),
    "run_not_finished": Text(
        "blankforms reconcile --date {date}", '"blankforms reconcile --date {date}"'
    ),
    "second_person_needed": Text("--approve --by 姓名", "--approve --by NAME"),
    "key_refused": Text(
        "请用 blankforms key list 查看或另建一个", 'see "blankforms key list", or make another'
    ),
    "person_needed": _BY_KEY,
    "another_person_needed": _BY_KEY,
    "no_second_persons": Text(
        "blankforms person add --role checker", '"blankforms person add --role checker"'
    ),
    "needs_yes": Text("确定要执行请加 {flags}", "add {flags} to do it"),
    "reason_unusable": Text("--reason 原因", "--reason WHY"),
    "name_unusable": Text("--by 姓名", "--by NAME"),
    "reason_needed": Text("--reason 原因", "--reason WHY"),
}
"""By the code of an error. What only an operator can mend names its command in its own text, at every face."""

PROBLEM_REMEDIES: Final = {
    "duplicate_order": _ORDER_AGAIN,
    "pages_exceeded": Text(
        "确需超出请加 --beyond-pages --reason 说明", "add --beyond-pages --reason"
    ),
}
"""By the code of a row's problem."""


def worded(error: BlankformsError) -> str:
    """What happened, and what to do about it here."""
    remedy = ERROR_REMEDIES.get(error.code)
    if remedy is None:
        return str(error)
    return Text("{what}；{how}", "{what}; {how}").fill(what=error, how=remedy.fill(**error.values))


def problem_worded(problem: Problem) -> str:
    """The same of a row's problem."""
    remedy = PROBLEM_REMEDIES.get(problem.code)
    if remedy is None:
        return problem.message
    return Text("{what}；{how}", "{what}; {how}").fill(what=problem.message, how=remedy)
