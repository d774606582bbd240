"""Everything that can go wrong for a person, with a stable code and what to do now.

Pure: standard library alone. An exception carries data; its text is made when it is shown, in the language of that moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

from models.rules.language import Text


class Kind(StrEnum):
    """What kind of thing went wrong: each face says it in its own way (exit code, HTTP status)."""

    WRONG_INPUT = "wrong_input"
    NOT_FOUND = "not_found"
    NOT_ALLOWED = "not_allowed"
    CONFLICT = "conflict"
    """What was asked does not fit how things are: a person looks, and decides anew."""
    FILE = "file"
    """A file that cannot be used as it is."""
    NOT_NOW = "not_now"
    """Something is away; it may work later."""
    CARD = "card"
    CONFIGURATION = "configuration"
    FAILURE = "failure"


class BlankformsError(Exception):
    """Base of every error that a person may see."""

    code: ClassVar[str] = "error"
    kind: ClassVar[Kind] = Kind.FAILURE
    text: ClassVar[Text] = Text("出错", "error")

    def __init__(self, **values: object) -> None:
        super().__init__(self.code, values)
        self.values = values

    def __str__(self) -> str:
        return self.text.fill(**self.values)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by code and values, so that it crosses from a pool child as what it is."""
        return _again, (type(self), self.code, self.values)


def text_of_code(code: str, values: Mapping[str, str]) -> str:
    """The text of an error that was kept by its code, in the current language; the code where it is unknown."""
    waiting: list[type[BlankformsError]] = [BlankformsError]
    while waiting:
        kind = waiting.pop()
        if kind.code == code:
            return kind.text.fill(**values)
        waiting += kind.__subclasses__()
    return code


def _again(kind: type[BlankformsError], code: str, values: dict[str, object]) -> BlankformsError:
    error = kind.__new__(kind)
    BlankformsError.__init__(error, **values)
    if code != kind.code:
        error.code = code  # type: ignore[misc]  # of `LineClosed`
    return error


class FileError(BlankformsError):
    """A sheet that cannot be used as it is."""

    kind = Kind.FILE


class FileUnreadable(FileError):
    code = "file_unreadable"
    text = Text(
        "无法读取“{file}”: {detail}。请用表格程序另存为 .xlsx 或 .csv 后重试",
        'cannot read "{file}": {detail}. Save it again as .xlsx or .csv and retry',
    )


class CellsRefused(FileError):
    code = "cells_refused"
    text = Text(
        "“{file}”未被采用，请更正以下内容后重试: {detail}",
        'nothing of "{file}" was taken; correct this and try again: {detail}',
    )


class FileEncrypted(FileError):
    code = "file_encrypted"
    text = Text(
        "“{file}”有打开口令，请取消口令后重试",
        '"{file}" is protected by a password; remove it and retry',
    )


class FileTooLarge(FileError):
    code = "file_too_large"
    text = Text(
        "“{file}”过大或解压后过大({detail})，请拆分后重试",
        '"{file}" is too large, or too large when unpacked ({detail}); split it and retry',
    )


class NoHeaderRow(FileError):
    code = "no_header_row"
    text = Text(
        "“{file}”中找不到表头({wanted})",
        'no header row in "{file}" ({wanted})',
    )


class SheetNotFound(FileError):
    code = "sheet_not_found"
    kind = Kind.NOT_FOUND
    text = Text(
        "“{file}”里没有这个名称的工作表；有表头的工作表: {sheets}",
        'there is no such sheet in "{file}"; sheets with a header row: {sheets}',
    )


class SheetHasQuestions(FileError):
    """What a sheet says is not understood for certain; nothing of it is done before a person answers."""

    code = "sheet_has_questions"
    kind = Kind.CONFLICT
    text = Text(
        "“{file}”里有 {count} 处需要先回答，未办理任何内容: {detail}",
        '{count} questions about "{file}" must be answered first, nothing was done: {detail}',
    )


class FileSubmittedBefore(BlankformsError):
    code = "file_submitted_before"
    kind = Kind.CONFLICT
    text = Text(
        "同样内容的文件已作为批次 {batch} 提交({when})",
        "the same content was submitted as batch {batch} ({when})",
    )


class PlanMoved(BlankformsError):
    code = "plan_moved"
    kind = Kind.CONFLICT
    text = Text(
        "预检之后库存或证书有变动，未提交任何内容；请重新预检后再提交",
        "stock or certificates have moved since the check, nothing was submitted; check again",
    )


class RowsRefused(BlankformsError):
    code = "rows_refused"
    kind = Kind.CONFLICT
    text = Text(
        "{problems} 行有问题(共 {rows} 行)，未提交任何内容；请更正，或只提交无误的行",
        "{problems} of {rows} rows have problems, nothing was submitted; correct them, or submit the valid rows alone",
    )


class NothingToSubmit(BlankformsError):
    code = "nothing_to_submit"
    kind = Kind.CONFLICT
    text = Text(
        "没有可提交的行；请按预检结果更正后重试",
        "no row can be submitted; correct what the check lists",
    )


class BatchNotFound(BlankformsError):
    code = "batch_not_found"
    kind = Kind.NOT_FOUND
    text = Text("没有批次 {batch}", "there is no batch {batch}")


class BatchNotOpen(BlankformsError):
    code = "batch_not_open"
    kind = Kind.CONFLICT
    text = Text(
        "批次 {batch} 当前为“{state}”，不能执行此操作",
        "batch {batch} is {state}; this cannot be done now",
    )


class BatchBusy(BlankformsError):
    code = "batch_busy"
    kind = Kind.NOT_NOW
    text = Text(
        "批次 {batch} 正在预检，或预检被中断；请稍候重新预检后再提交",
        "batch {batch} is being checked, or its check was broken off; check it again and submit then",
    )


class BatchNotEnded(BlankformsError):
    code = "batch_not_ended"
    kind = Kind.CONFLICT
    text = Text(
        "批次 {batch} {state}，全部有结果后才能重做；或先取消未发出的部分",
        "batch {batch} is {state}; it can be redone when all of it has ended, or what has not left is cancelled",
    )


class RunNotFound(BlankformsError):
    code = "run_not_found"
    kind = Kind.NOT_FOUND
    text = Text("没有对账 {run}", "there is no reconciliation {run}")


class RunNotFinished(BlankformsError):
    code = "run_not_finished"
    kind = Kind.CONFLICT
    text = Text(
        "对账 {run} 尚未完成；请先完成 {date} 的对账",
        "reconciliation {run} is not finished; finish the one of {date} first",
    )


class RunSuperseded(BlankformsError):
    code = "run_superseded"
    kind = Kind.CONFLICT
    text = Text(
        "对账 {run} 之后已有对账 {newest}；请处理最新的一次",
        "reconciliation {newest} has looked again since {run}; repair the newest one",
    )


class RunBusy(BlankformsError):
    code = "run_busy"
    kind = Kind.CONFLICT
    text = Text(
        "另一进程正在处理对账 {run}，请稍后再试",
        "another process is repairing reconciliation {run}; try again later",
    )


class SecondPersonNeeded(BlankformsError):
    code = "second_person_needed"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "“{name}”已提出该处理，须由另一人复核",
        "{name} proposed it; another person must approve it",
    )


class NotAllowed(BlankformsError):
    code = "not_allowed"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "{name} 无权办理(需要角色 {roles}；密钥需要范围 {scope})",
        "{name} may not do this (it needs one of the roles {roles}; of a key the scope {scope})",
    )


class KeyRefused(BlankformsError):
    """Never says in which way: who guesses keys learns nothing."""

    code = "key_refused"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "密钥不被接受(不存在、已停用或已过期)",
        "the key is not accepted (unknown, revoked or expired)",
    )


class SignInRefused(BlankformsError):
    """Never says in which way: who guesses learns neither logins nor passwords."""

    code = "sign_in_refused"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "账号、口令或动态码不正确，请核对后重新登录；忘记口令请找管理员",
        "the account, the password or the code is not right; an administrator gives a new password",
    )


class SignInPaused(BlankformsError):
    code = "sign_in_paused"
    kind = Kind.NOT_NOW
    text = Text(
        "错误次数过多，请在 {seconds} 秒后再试",
        "too many wrong tries; try again in {seconds} s",
    )


class SignInBusy(BlankformsError):
    code = "sign_in_busy"
    kind = Kind.NOT_NOW
    text = Text("登录的人较多，请稍后再试", "many are signing in; try again in a moment")


class OidcUnreachable(BlankformsError):
    """The provider is away, or what it says of itself cannot be used: nobody is refused by that."""

    code = "oidc_unreachable"
    kind = Kind.NOT_NOW
    text = Text(
        "统一身份认证暂时不可用({detail})；请稍后再试，或用口令登录",
        "the provider of sign-ins cannot be used now ({detail}); try again later, or sign in with a password",
    )


class PasswordUnusable(BlankformsError):
    code = "password_unusable"
    kind = Kind.WRONG_INPUT
    text = Text("口令不能使用: {detail}", "this password cannot be used: {detail}")


class SecondFactorUnusable(BlankformsError):
    code = "second_factor_unusable"
    kind = Kind.CONFLICT
    text = Text("动态码未启用: {detail}", "the second factor was not set up: {detail}")


class NothingChosen(BlankformsError):
    code = "nothing_chosen"
    kind = Kind.WRONG_INPUT
    text = Text(
        "没有可办理的证书: 请勾选已审核通过的证书(所选的有 {complete} 份已足页)",
        "no certificate to be done: tick approved ones ({complete} of those chosen have all their forms)",
    )


class SelectionTooLarge(BlankformsError):
    code = "selection_too_large"
    kind = Kind.WRONG_INPUT
    text = Text(
        "一次至多选 {limit} 份证书，请用查询条件缩小范围",
        "at most {limit} certificates at once; narrow the filter",
    )


class OrderTooLarge(BlankformsError):
    code = "order_too_large"
    kind = Kind.WRONG_INPUT
    text = Text(
        "一次至多写明 {limit} 张流水号，请分开提交或改用表格",
        "at most {limit} serials in one call; split it, or send a sheet",
    )


class KeyUsedOtherwise(BlankformsError):
    code = "idempotency_key_used"
    kind = Kind.CONFLICT
    text = Text(
        "该 Idempotency-Key 已用于另一个请求: {key}；重发须与原请求一字不差，新请求请另取一个",
        "this Idempotency-Key was used for another call: {key}; repeat that one unchanged, or take another key",
    )


class PersonNeeded(BlankformsError):
    """What needs two persons begins with one whose name is proved."""

    code = "person_needed"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "此单须复核({rules})，制单人须以密钥或登录证明身份；系统账号只能预检",
        "this order needs a second person ({rules}), so its maker must be known by a key or a login; an account may only check it",
    )


class AnotherPersonNeeded(BlankformsError):
    code = "another_person_needed"
    kind = Kind.NOT_ALLOWED
    text = Text(
        "{name} 不能复核此单：须由制单人以外、有复核角色的人员以自己的密钥或登录办理",
        "{name} cannot decide this: it takes a checker who did not make it, by a key or login of their own",
    )


class NoSecondPersons(BlankformsError):
    code = "no_second_persons"
    kind = Kind.CONFLICT
    text = Text(
        "开启复核须有至少 {needed} 名启用的复核人员，现有 {able} 名",
        "to turn this on {needed} persons who may endorse are needed, there are {able}",
    )


class EndorsementDecided(BlankformsError):
    code = "endorsement_decided"
    kind = Kind.CONFLICT
    text = Text("该复核已有结果: {state}", "this has been decided already: {state}")


class PersonUnknown(BlankformsError):
    code = "person_unknown"
    kind = Kind.NOT_FOUND
    text = Text("没有此人员: {login}", "there is no such person: {login}")


class NeedsYes(BlankformsError):
    """Nobody is there to be asked, and what is ordered cannot be undone."""

    code = "needs_yes"
    kind = Kind.WRONG_INPUT
    text = Text(
        "该操作不可撤销，且无人可询问",
        "this cannot be undone and nobody is there to be asked",
    )


class ReasonNeeded(BlankformsError):
    code = "reason_needed"
    kind = Kind.WRONG_INPUT
    text = Text(
        "请说明原因",
        "say why",
    )


class ReasonUnusable(BlankformsError):
    code = "reason_unusable"
    kind = Kind.WRONG_INPUT
    text = Text("原因须为 1-{limit} 字", "a reason has 1-{limit} characters")


class NameUnusable(BlankformsError):
    code = "name_unusable"
    kind = Kind.WRONG_INPUT
    text = Text("姓名须为 1-{limit} 字", "a name has 1-{limit} characters")


class NotFound(BlankformsError):
    code = "not_found"
    kind = Kind.NOT_FOUND
    text = Text("没有找到 {what}", "{what} was not found")


class BadArgument(BlankformsError):
    code = "bad_argument"
    kind = Kind.WRONG_INPUT
    text = Text("{detail}", "{detail}")


class BrokerUnreachable(BlankformsError):
    code = "broker_unreachable"
    kind = Kind.NOT_NOW
    text = Text(
        "消息队列无法连接({detail})；请先在另一窗口运行 blankforms up",
        'the broker cannot be reached ({detail}); run "blankforms up" in another window first',
    )


class BrokerReadOnly(BrokerUnreachable):
    code = "broker_read_only"
    text = Text(
        "消息队列只读({detail})：连到了从库，或主从已切换；请把 BROKER_URL 指向主库",
        "the broker is read-only ({detail}): a replica, or it has changed places; let BROKER_URL name the primary",
    )


class BrokerFull(BrokerUnreachable):
    code = "broker_out_of_memory"
    text = Text(
        "消息队列内存或磁盘已满，不接受写入({detail})；请加大 maxmemory 或清理其他库，无需清空本系统的",
        "the broker takes nothing more ({detail}): give it more memory or disk, or clear what is others'; ours need not be emptied",
    )


class BrokerRefused(BrokerUnreachable):
    code = "broker_refused"
    kind = Kind.CONFIGURATION
    text = Text(
        "消息队列拒绝登录({detail})；请核对 BROKER_URL 里的口令后重启各进程",
        "the broker refuses our password ({detail}); correct BROKER_URL, then restart the processes",
    )


class ProcessQuiet(BlankformsError):
    code = "process_quiet"
    kind = Kind.NOT_NOW
    text = Text(
        "这些进程没有动静: {names}；单机请运行 blankforms up，服务请看 systemctl status 'blankforms-*'",
        "no sign of these processes: {names}; run \"blankforms up\", or look at systemctl status 'blankforms-*'",
    )


class JournalUnwritable(BlankformsError):
    code = "journal_unwritable"
    kind = Kind.NOT_NOW
    text = Text(
        "发送日志无法写入({detail})，不再发送；请检查数据目录的磁盘和权限",
        "the send journal cannot be written ({detail}), nothing is sent; look at disk and rights of the data folder",
    )


class JournalMissing(JournalUnwritable):
    """Messages were sent, and the file that notes them before they leave is gone."""

    code = "journal_missing"
    text = Text(
        "发送日志不见了({detail})，不再发送；请找回该文件，确实找不回的先对账，再 blankforms journal accept --by 姓名",
        'the send journal is gone ({detail}), nothing is sent; bring the file back, or reconcile, then "blankforms journal accept --by NAME"',
    )


class DiskFull(BlankformsError):
    code = "disk_full"
    kind = Kind.NOT_NOW
    text = Text(
        "数据目录所在磁盘只剩 {detail}；请清理，磁盘满后将停止发送",
        "only {detail} left on the disk of the data folder; make room: when it is full nothing is sent",
    )


class ClockApart(BlankformsError):
    code = "clock_apart"
    kind = Kind.NOT_NOW
    text = Text(
        "本机时间与数据库或其他进程的记录相差 {detail}；请校准时间(NTP)",
        "this machine's clock is {detail} from the database's, or from what other processes noted; set it (NTP)",
    )


class LineClosed(BlankformsError):
    """Messages do not leave; `code` is why."""

    kind = Kind.NOT_NOW
    text = Text("到海关的线路: {said}", "line to customs: {said}")

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(**values)
        self.args = (code, values)
        self.code = code  # type: ignore[misc]  # one class for every reason


class AlreadyRunning(BlankformsError):
    code = "already_running"
    text = Text(
        "数据目录 {home} 的系统已在运行(blankforms up)；要看状态请用 blankforms doctor",
        'the system of {home} is running already (blankforms up); to look at it use "blankforms doctor"',
    )


class BackupUnusable(BlankformsError):
    code = "backup_unusable"
    kind = Kind.FILE
    text = Text(
        "备份未能完成或不完整({detail})；原有数据未改动",
        "the backup could not be made, or is not whole ({detail}); nothing that was there has changed",
    )


class RestoreRefused(BlankformsError):
    code = "restore_refused"
    kind = Kind.CONFLICT
    text = Text(
        "{place} 里已有数据，不会被覆盖；请恢复到空的数据目录(BLANKFORMS_HOME)或空的数据库",
        "there is data in {place}, which is not written over; restore into an empty home (BLANKFORMS_HOME) or database",
    )


class DatabaseUnreachable(BlankformsError):
    code = "database_unreachable"
    kind = Kind.NOT_NOW
    text = Text(
        "数据库无法使用({detail})；请检查 DATABASE_URL，或运行 blankforms db upgrade",
        'the database cannot be used ({detail}); check DATABASE_URL or run "blankforms db upgrade"',
    )


class DatabaseUnwritable(DatabaseUnreachable):
    """It answers, and nothing can be written."""

    code = "database_unwritable"
    text = Text(
        "数据库能读不能写({detail})；请看是否磁盘已满、连到了备库或没有写权限；数据未丢失，恢复后自动继续",
        "the database can be read and not written ({detail}): a full disk, a standby, no rights? nothing is lost, all goes on when it can be written",
    )


class DatabaseRestored(BlankformsError):
    """The send journal knows of messages that the database does not."""

    code = "database_restored"
    kind = Kind.CONFLICT
    text = Text(
        "数据库比发送日志旧(可能恢复过备份)，已停止预占、签名和发送；"
        "先 blankforms reconcile 并处理差异，再 blankforms journal accept --by 姓名",
        "the database is older than the send journal (was a backup restored?); nothing is reserved, "
        'signed or sent until "blankforms reconcile", the repair, and "blankforms journal accept --by NAME"',
    )


class CustomsUndecided(BlankformsError):
    """Customs has not decided what a restored database forgot: its list cannot be believed yet."""

    code = "customs_undecided"
    kind = Kind.NOT_NOW
    text = Text(
        "恢复备份之前发送的报文中，还有 {count} 份海关尚未审结(如 {number}，证书 {certificate})，此时对账会漏掉它们；"
        "系统会自动再试，也可稍后再运行 blankforms reconcile",
        "of the messages sent before the backup was restored, customs has not decided {count} ({number} for "
        "certificate {certificate}, say): a reconciliation would miss them. It is tried again by itself; or run "
        '"blankforms reconcile" later',
    )


class NotAdopted(BlankformsError):
    """Forms that customs has decided are free or reserved here: they would be submitted again."""

    code = "not_adopted"
    kind = Kind.CONFLICT
    text = Text(
        "对账 {run} 中还有 {count} 张证单海关已办结、本库却仍可使用(如 {serial}{where})；先运行 blankforms reconcile repair {run}；"
        "被批次预占的，先 blankforms batch cancel 取消该批次，再运行一次 repair",
        "in reconciliation {run}, {count} forms are final at customs and could still be used here ({serial}{where}, "
        'say); run "blankforms reconcile repair {run}" first, and for those that a batch has reserved '
        '"blankforms batch cancel" before it',
    )


class NotReconciled(BlankformsError):
    """A restored database is not up to date by saying so: customs has to be looked at first."""

    code = "not_reconciled"
    kind = Kind.CONFLICT
    text = Text(
        "发送日志的最后一笔({at})之后还没有完成的对账；请先运行 blankforms reconcile 并处理差异(当天已对过账，用 --date 指定明天)",
        'no reconciliation has finished since the last entry of the journal ({at}); run "blankforms '
        'reconcile" first (with --date of tomorrow when today already has one)',
    )


class BatchGoesOn(BlankformsError):
    """The yes is kept and the database was lost before the serials were taken."""

    code = "batch_goes_on"
    kind = Kind.NOT_NOW
    text = Text(
        "批次 {batch} 已确认，数据库恢复后自动继续，请勿重复下单({detail})；进度: blankforms batch show {batch}",
        "batch {batch} is confirmed and goes on by itself when the database is back: do not order again ({detail}); see "
        '"blankforms batch show {batch}"',
    )


class ConfirmationUnknown(BlankformsError):
    """The database was lost while the yes was being kept."""

    code = "confirmation_unknown"
    kind = Kind.NOT_NOW
    text = Text(
        "确认批次 {batch} 时数据库中断({detail})，不知是否已确认；请先看 blankforms batch show {batch}: "
        "仍是已预检的可再次确认，否则它会自动继续，请勿重复下单",
        "the database was lost while batch {batch} was being confirmed ({detail}); first look at "
        '"blankforms batch show {batch}": still checked, confirm it again; else it goes on by itself, do not order again',
    )


class LinePaused(BlankformsError):
    code = "line_paused"
    text = Text(
        "线路已由人工暂停({detail})；恢复: blankforms line resume",
        'a person has paused the line ({detail}); to go on: "blankforms line resume"',
    )


class GatewayUnreachable(BlankformsError):
    code = "gateway_unreachable"
    kind = Kind.NOT_NOW
    text = Text(
        "海关网关无法连接或答复异常({detail})；数据未丢失，已提交的批次恢复后自动继续；其他命令请稍后重试",
        "the customs gateway cannot be reached or answers oddly ({detail}); nothing is lost: batches go "
        "on by themselves when it is back, other commands are to be tried again",
    )


class AnswerTooLarge(GatewayUnreachable):
    """A page of a list is larger than we take: a smaller one may be asked for."""

    code = "answer_too_large"


class ListRefused(GatewayUnreachable):
    """Customs answers, but does not give this list, or gives what is none: others may be asked for."""

    code = "list_refused"
    text = Text(
        "海关不给出这份清单，或给出的不合约定({detail})；其他企业的不受影响",
        "customs does not give this list, or gives what is none ({detail}); those of others go on",
    )


class SchemaMissing(BlankformsError):
    code = "schema_missing"
    kind = Kind.CONFIGURATION
    text = Text(
        "数据库里还没有表；请先运行 blankforms db upgrade",
        'the database has no tables yet; run "blankforms db upgrade" first',
    )


class SchemaOlder(BlankformsError):
    code = "schema_older"
    kind = Kind.CONFIGURATION
    text = Text(
        "数据库的表结构({found})比本程序({wanted})旧；请停止全部旧版进程，备份后运行 blankforms db upgrade",
        "the schema of the database ({found}) is older than this program ({wanted}); stop all processes of the version "
        'before, back up, then run "blankforms db upgrade"',
    )


class SchemaNewer(BlankformsError):
    code = "schema_newer"
    kind = Kind.CONFIGURATION
    text = Text(
        "数据库的表结构({found})比本程序({wanted})新；请改用新版程序，或恢复升级前的备份",
        "the schema of the database ({found}) is newer than this program ({wanted}); run the newer program, or restore "
        "the backup from before the upgrade",
    )


class AnotherDeployment(BlankformsError):
    """The settings name another sender or another customs than the database belongs to."""

    kind = Kind.CONFIGURATION


class AnotherSender(AnotherDeployment):
    code = "another_sender"
    text = Text(
        "本数据库属于发送企业 {known}，设置(ENTERPRISE_CODE)却是 {given}；请改回，或为 {given} 另建数据目录和数据库",
        "this database belongs to the sender {known}, the settings (ENTERPRISE_CODE) say {given}; set it back, or give "
        "{given} a home and a database of its own",
    )


class AnotherCustoms(AnotherDeployment):
    code = "another_customs"
    text = Text(
        "本数据库对接的海关是 {known}，设置(CUSTOMS_URL)却是 {given}。同一海关换了地址: blankforms customs moved 新地址；"
        "换成另一海关且尚未发过报文: blankforms adopt-customs；否则请另建数据目录和数据库",
        "this database speaks to the customs {known}, the settings (CUSTOMS_URL) say {given}. The same customs at a new "
        'address: "blankforms customs moved URL"; another customs, before anything was sent: "blankforms adopt-customs"; '
        "else start a home and a database of their own",
    )


class DeploymentUnconfirmed(AnotherDeployment):
    code = "deployment_unconfirmed"
    text = Text(
        "升级前的数据库里已有报文，没有记录它属于哪个企业、对接哪个海关。设置中是: 企业 {sender}，海关 {customs}；"
        "确认无误后运行 blankforms customs confirm",
        "this database has messages from before the upgrade and does not say whose it is. The settings say: sender "
        '{sender}, customs {customs}; when that is right run "blankforms customs confirm"',
    )


class CustomsFixed(BlankformsError):
    code = "customs_fixed"
    kind = Kind.CONFLICT
    text = Text(
        "本数据库已向海关 {known} 发过报文或有已办结的证单，不能换成另一海关；请为新的海关另建数据目录(BLANKFORMS_HOME)和数据库",
        "this database has sent messages to the customs {known}, or has forms that are final: it cannot adopt another one; "
        "start a new home (BLANKFORMS_HOME) and a new database for that",
    )


class MessagesWait(BlankformsError):
    code = "messages_wait"
    kind = Kind.CONFLICT
    text = Text(
        "还有 {count} 份报文待签名或待发送，是为原来的海关做的；请先用 blankforms batch cancel 取消其批次",
        "{count} messages made for the customs before wait to be signed or sent; cancel their batches first "
        "(blankforms batch cancel)",
    )


class CustomsAskedToWait(BlankformsError):
    code = "customs_asked_to_wait"
    kind = Kind.CONFLICT
    text = Text(
        "海关要求暂停发送({reason})，到 {until} 自动恢复，不能提前打开",
        "customs asked to wait ({reason}); the line opens by itself at {until}, not before",
    )
