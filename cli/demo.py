"""`make demo`: the whole system in a folder of its own, one batch from upload to result sheet.

Leaves the folder `var/demo` with everything to look at; a second run begins anew.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cli.runtime import err, out
from cli.shipped import shipped
from cli.up import process_environment
from config.log import set_up_logging
from config.settings import load_settings
from models.reads.certificates import CertificateFilter, list_certificates
from models.rules.differences import TREATMENTS, DifferenceClass
from models.rules.language import Text, current_language, t
from models.rules.people import ROLE_WORDS, Role
from models.rules.plan import CERTIFICATE_APPROVED
from models.rules.states import BatchState, FormState, RowOutcome, label
from models.rules.two_persons import Rules
from tasks.context import Context
from tasks.opening import connect
from tasks.people import grace as graces
from tasks.people import passwords, persons, rules, sign_ins
from workers.bootstrap import context_with

START_SECONDS: Final = 60
STOP_SECONDS: Final = 20


def run_demo(*, stay: bool = False) -> int:
    """Run it; 0 when the batch came to its end and everything was stopped. `stay`: the console is left open on it,
    with a slow customs and four persons, until Ctrl-C or SIGTERM.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell's "&" has the second one ignored
        signal.signal(number, signal.default_int_handler)
    os.umask(0o077)  # nothing of it is for others
    home = Path("var/demo").absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    environment = {
        **process_environment(),
        "BLANKFORMS_HOME": str(home),
        "BLANKFORMS_LANG": current_language().value,
        "PORT": str(free_port()),
        "CONSOLE_PORT": str(free_port()),
        "SIMULATOR_PORT": str(free_port()),
        "SIMULATOR_FAULTS": str(shipped("samples") / "faults.json"),
        "SWEEP_SECONDS": "1",
        "POLL_SECONDS": "3",
        "MOVING_MINUTES": "0",  # nothing is in motion when the batch has ended
        "SIMULATOR_DELAY_SECONDS": "5" if stay else "1",  # one sees states arrive
    }
    for name in ("DATABASE_URL", "BROKER_URL", "CUSTOMS_URL", "PKCS11_MODULE", "BLANKFORMS_ENV"):
        environment[name] = ""  # embedded whatever a .env file says
    _say(t("演示数据在 var/demo", "data of the demonstration: var/demo"))
    _say(t("启动全部进程…", "starting all processes…"))
    with (home / "up.log").open("wb") as log:
        system = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_alive(environment["PORT"], system)
            code = _one_batch(environment)
            if stay:
                _leave_open(environment, system)
            return code
        finally:
            _stop(system)
            _say(t("已停止全部进程", "all processes stopped"))


MORE_CERTIFICATES: Final = 12

PERSONS: Final = (
    ("zhang", Text("张三", "Zhang San"), Role.MAKER),
    ("li", Text("李娜", "Li Na"), Role.CHECKER),
    ("zhao", Text("赵敏", "Zhao Min"), Role.CHECKER),
    ("wu", Text("吴主任", "Wu"), Role.ADMINISTRATOR),
)


def _leave_open(environment: dict[str, str], system: subprocess.Popen[bytes]) -> None:
    """Persons with random passwords, every void under two of them, a minute to take it back; then the address."""
    settings = load_settings({**environment, "LOG_LEVEL": "WARNING"})
    set_up_logging(settings)
    context = context_with(settings, connect(settings))
    try:
        for login, name, role in PERSONS:
            persons.add_person(context, login, str(name), [role])
            _say(f"{login:<6} {passwords_of(context, login)}   {name} {ROLE_WORDS[role]}")
        _run(environment, "certificates", "import", str(_more_certificates(context)))
        rules.set_rules(context, Rules(on=True, voids_per_batch=0))
        graces.set_grace(context, 0, 1)
    finally:
        context.close()
    _say(
        t(
            f"打开 http://127.0.0.1:{settings.console_port}/ 以 zhang 登录，作废一张，再以 li 复核；Ctrl-C 结束",
            f"open http://127.0.0.1:{settings.console_port}/, void a form as zhang, endorse it as li; Ctrl-C ends it",
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        system.wait()


def _more_certificates(context: Context) -> Path:
    """Certificates that nobody has used forms for yet: the batch of the demonstration has seen to all others."""
    with context.database.read() as session:
        known = list(list_certificates(session, CertificateFilter(kind="B"), 200))
    like = next(c for c in known if c["status"] == CERTIFICATE_APPROVED)
    path = Path("var/demo") / "more.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("证书号", "出口商代码", "录入企业代码", "状态", "审核日期", "页数"))
        for number in range(MORE_CERTIFICATES):
            name = f"{like['certificate'][:12]}{9001 + number}"
            day = f"{context.now():%Y-%m-%d}"
            rows.writerow((name, like["exporter"], like["agent"], "审核通过", day, 1 + number % 3))
    return path


def passwords_of(context: Context, login: str) -> str:
    """A random password of this person's own, chosen as they would."""
    given, _ = passwords.give_one_time(context, login)
    token = sign_ins.sign_in(context, login, given, "", sign_ins.Browser("127.0.0.1", "demo"))
    signed = sign_ins.who(context, token, doing=True)
    own = passwords.new_one_time()
    passwords.choose(replace(context, actor=signed.actor), given, own)
    sign_ins.sign_out(replace(context, actor=signed.actor))
    return own


def _one_batch(environment: dict[str, str]) -> int:
    samples = shipped("samples")
    _run(environment, "stock", "import", str(samples / "领用登记.xlsx"))
    _run(environment, "certificates", "import", str(samples / "证书.xlsx"))
    began = time.monotonic()
    sheet = str(samples / "月末核销.xlsx")
    text = _run(environment, "submit", sheet, "--yes", "--only-valid", "--wait", "--json")
    seconds = time.monotonic() - began
    batch: dict[str, Any] = json.loads(text)
    result = Path("var/demo") / t("结果.xlsx", "result.xlsx")
    _run(environment, "batch", "result", str(batch["id"]), "-o", str(result))
    _summary(batch, seconds, result)
    checked = json.loads(_run(environment, "doctor", "--deep", "--wait", "60", "--json"))
    invariants = [c for c in checked["checks"] if c["check"].startswith("invariant")]
    whole = all(c["result"] == "ok" for c in invariants)
    _say(t("不变量与模拟海关台账: ", "invariants and the simulator's ledger: ")
         + (t("全部成立", "all hold") if whole else str(invariants)))  # fmt: skip
    _say(_night(json.loads(_run(environment, "reconcile", "--json"))))
    return 0 if whole and batch["state"] == BatchState.FINISHED else 1


def _summary(batch: dict[str, Any], seconds: float, result: Path) -> None:
    counts = batch["counts"]
    forms = counts["forms"]
    codes: dict[str, int] = {}
    for row in batch["rows"]:
        for problem in row["problems"]:
            codes[problem["code"]] = codes.get(problem["code"], 0) + 1
    console = out()
    console.print()
    rows = [
        (t("批次", "batch"), f"{batch['id']}  {label(BatchState(batch['state']))}"),
        (t("行", "rows"), f"{counts['rows']}  ("
         + ", ".join(f"{label(RowOutcome(o))} {n}" for o, n in counts["outcomes"].items() if n)
         + ")"),
        (label(FormState.VERIFIED), forms["verified"]),
        (label(FormState.VOIDED), forms["voided"]),
        (t("海关退回", "refused by customs"), counts["refused_forms"]),
        (t("问题", "problems"), ", ".join(f"{c} {n}" for c, n in sorted(codes.items()))),
        (t("用时", "time"), t(f"{seconds:.0f} 秒", f"{seconds:.0f} s")),
        (t("结果表", "result sheet"), result),
    ]  # fmt: skip
    for name, value in rows:
        console.print(f"{name}: {value}", markup=False)


def _night(report: dict[str, Any]) -> str:
    forms = report["forms"]
    found = ", ".join(
        f"{TREATMENTS[DifferenceClass(kind)].name} {counted['differences']}"
        for kind, counted in report["differences"].items()
    )
    return t(
        f"对账: 本系统 {forms['ours']} 张，海关所列 {forms['listed']} 张，差异: {found or '无'}",
        f"reconciliation: {forms['ours']} forms here, {forms['listed']} at customs; {found or 'no differences'}",
    )


def _run(environment: dict[str, str], *arguments: str) -> str:
    """One command as a user would give it; progress goes to the terminal, its output is given."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout


def _wait_until_alive(port: str, system: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and system.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(t("系统没有启动，见 up.log", "the system did not start, see up.log"))


def _stop(system: subprocess.Popen[bytes]) -> None:
    system.send_signal(signal.SIGTERM)
    try:
        system.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(system.pid, signal.SIGKILL)
        system.wait()


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _say(text: str) -> None:
    err().print(text, markup=False)
