"""The command line as scripts and people use it: JSON shapes, exit codes, sheets opened again."""

from __future__ import annotations

import json

import openpyxl
import pytest

from config.settings import load_settings
from tests.conftest import DATA, ROOT
from tests.support.system import broker, system

SAMPLES = DATA / "samples"
ORDERS = str(SAMPLES / "核销导入.xlsx")


@pytest.fixture(scope="module")
def running(short_tmp):
    home = short_tmp / "cli"
    with system(home) as made:
        settings = load_settings({"BLANKFORMS_HOME": str(home)})
        with broker(home / "broker", port=0, unix_socket_path=settings.broker_socket):
            made.start_simulator()
            made.start("worker", "submitter", "sender", "scheduler", "web")
            made.run("stock", "import", str(SAMPLES / "领用登记.xlsx"))
            made.run("certificates", "import", str(SAMPLES / "证书.xlsx"))
            yield made


@pytest.fixture(scope="module")
def alone(short_tmp):
    """A home where nothing runs."""
    with system(short_tmp / "alone") as made:
        made.run("stock", "import", str(SAMPLES / "领用登记.xlsx"))
        made.run("certificates", "import", str(SAMPLES / "证书.xlsx"))
        yield made


def test_check_json_has_what_programs_rely_on(alone):
    shown = alone.json("check", ORDERS, expect=3)
    assert shown.keys() >= {"file", "sha256", "sheet", "plan", "rows", "counts"}
    counted = {
        "rows": 7, "ok": 3, "problem": 4, "skipped": 0, "blank": 0, "planned": 7,
        "verify": 6, "void": 1,
    }  # fmt: skip
    assert {name: shown["counts"][name] for name in counted} == counted
    assert shown["counts"]["forms"] == 7  # an old key
    assert shown["batch"] == shown["id"]  # another one
    first, *_, last = shown["rows"]
    assert first == {
        "row": 2,
        "status": "ok",
        "outcome": "not_processed",
        "certificate": "B201026902331597",
        "action": "verify",
        "reference": first["reference"],
        "serials": ["211013209", "211013210"],
        "forms": [{"serial": s, "state": "issued"} for s in ("211013209", "211013210")],
        "reason": "",
        "certificate_pages": 16,
        "certificate_has": 0,
        "problems": [],
    }
    assert last["problems"] == [
        {
            "code": "duplicate_in_file",
            "column": "空白证单流水号",
            "cell": "C8",
            "message": "流水号 211013209 已出现在第 2 行",
            "suggestion": "",
        }
    ]
    assert alone.json("check", ORDERS, expect=3)["plan"] == shown["plan"]
    twin = alone.json("check", str(SAMPLES / "核销导入.gb18030.csv"), expect=3)
    assert (twin["counts"]["blank"], twin["rows"]) == (1, shown["rows"])
    assert twin["plan"] != shown["plan"]  # another file is another reading
    assert shown["questions"] == []
    assert shown["reading"]["sheet"] == shown["sheet"]
    meanings = {c["header"]: c["meaning"] for c in shown["reading"]["columns"]}
    assert (meanings["证书号"], meanings["空白证单流水号"]) == ("certificate", "serial")


def test_a_sheet_with_questions_is_shown_and_nothing_of_it_is_done(alone):
    case = str(DATA / "cases" / "02-two-sheets.xlsx")
    shown = alone.json("check", case, expect=3)
    assert (shown["state"], shown["error"]["code"]) == ("asked", "sheet_has_questions")
    assert [q["answers"] for q in shown["questions"]] == [["--sheet 核销", "--sheet 作废"]]
    assert len(shown["rows"]) == 1
    for arguments in (("--yes",), ("--only-valid", "--yes"), ("--plan", shown["plan"])):
        refused = alone.json("submit", case, *arguments, expect=3)
        assert refused["error"]["code"] == "sheet_has_questions"
    assert "--sheet 作废" in alone.run("check", case, expect=3)
    answered = alone.json("check", case, "--sheet", "作废", expect=3)
    assert answered["questions"] == []
    assert answered["counts"]["rows"] == 1


def test_what_a_cell_says_is_shown_and_steers_no_terminal(alone, tmp_path):
    sheet = tmp_path / "[bold]harm.csv"
    hostile = "\x1b[2J\x1b]0;title\x07\u202e"
    sheet.write_text(
        f"证书号,操作,空白证单流水号\nB201026902331597,[/x],{hostile}211013209\n", "utf-8"
    )
    shown = alone.run("check", str(sheet), expect=3)
    assert "[/x]" in shown
    assert "[bold]harm.csv" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown + alone.stderr)


def test_importing_twice_changes_nothing(alone):
    done = alone.json("stock", "import", str(SAMPLES / "领用登记.xlsx"))
    assert done == {"new": 0, "known": 61}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("submit", ORDERS, "--only-valid", "--yes"), 69),
        (("submit", ORDERS, "--only-valid"), 2),
        (("submit", ORDERS, "--only-valid", "--dry-run"), 3),
        (("verify", "A211026902331080", "--pages", "1"), 2),
        (("stock", "lost", "211013201"), 2),
        (("batch", "result", "1", "-o", "x.pdf"), 2),
        (("check", ORDERS, "--column", "x=nonsense"), 2),
        (("verify", "A211026902331080", "--pages", "1", "--beyond-pages"), 2),
        (("submit", ORDERS, "--plan", "0" * 16), 3),
        (("submit", ORDERS, "--yes"), 3),
        (("submit", ORDERS, "--all-or-nothing", "--only-valid"), 2),
        (("check", "/nowhere.xlsx"), 65),
        (("check", str(ROOT / "README.md")), 65),
        (("batch", "show", "999"), 2),
        (("verify", "A211026902331080"), 2),
        (("verify", "A211026902331080", "--pages", "900"), 3),
        (("void", "B201026902331597", "--serials", "211013211", "--reason", "77"), 3),
        (("forms", "--issued-from", "2022-05-02", "--issued-to", "2022-05-01"), 2),
        (("form", "999999999"), 2),
        (("refresh",), 69),
        (("stock", "sync"), 69),
        (("nonsense",), 2),
        (("--lang", "fr", "forms"), 2),
    ],
)
def test_exit_codes(alone, arguments, code):
    alone.run(*arguments, expect=code)
    assert "Traceback" not in alone.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "没有命令 nonsense"),
        (("forms", "--nope"), "没有选项 --nope"),
        (("verify",), "缺少 certificate"),
        (("forms", "--limit", "x"), "--limit 的值不对: 应为整数"),
        (("check", "a.csv", "b.csv"), "多余的参数: b.csv"),
        (("check", "a.csv", "--action", "x"), "--action 的值不对: 应为"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_in_the_persons_language(alone, arguments, said):
    alone.run(*arguments, expect=2)
    assert said in alone.stderr
    assert "--help" in alone.stderr
    alone.run(*arguments, "--lang", "en", expect=2)
    assert said not in alone.stderr


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SEND_CONCURRENCY", "x", 78),
        ("DATABASE_URL", "garbage", 78),
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/x", 69),
        ("BLANKFORMS_HOME", "/proc/x", 78),
        ("CUSTOMS_URL", "http://127.0.0.1:9", 78),
    ],
)
def test_bad_settings_are_said_by_name(alone, name, value, code):
    before = alone.environment.copy()
    alone.environment[name] = value
    try:
        alone.run("batch", "list", expect=code)
    finally:
        alone.environment.clear()
        alone.environment.update(before)
    assert "Traceback" not in alone.stderr


def test_errors_are_a_document_too_and_speak_english_on_request(alone):
    text = alone.run("batch", "show", "999", "--json", "--lang", "en", expect=2)
    assert json.loads(text) == {
        "error": {"code": "batch_not_found", "message": "there is no batch 999"}
    }


def test_config_masks_secrets(alone):
    alone.environment["CUSTOMS_TOKEN"] = "canary-token"
    text = alone.run("config") + alone.run("config", "--json")
    del alone.environment["CUSTOMS_TOKEN"]
    assert "canary" not in text
    assert "BLANKFORMS_HOME" in text


def test_the_template_can_be_filled_and_read(alone):
    path = alone.home / "模板.xlsx"
    alone.run("template", "-o", str(path))
    shown = alone.json("check", str(path))  # example rows left in are never carried out
    assert (shown["counts"]["rows"], shown["counts"]["skipped"]) == (3, 3)
    assert openpyxl.load_workbook(path).active["A2"].number_format == "@"


def test_the_sample_from_upload_to_result_sheet(running):
    shown = running.json("submit", ORDERS, "--only-valid", "--yes", "--wait", expect=3)
    assert shown["state"] == "finished"
    assert shown["counts"]["forms"] == {
        "issued": 0, "reserved": 0, "verify_submitted": 0, "verified": 6, "void_submitted": 0,
        "voided": 1,
    }  # fmt: skip
    assert [r["outcome"] for r in shown["rows"]] == ["done"] * 3 + ["refused"] * 4
    running.run("submit", ORDERS, "--only-valid", "--yes", expect=3)
    assert "批次" in running.stderr

    path = running.home / "结果.xlsx"
    running.run("batch", "result", str(shown["id"]), "-o", str(path))
    sheet = openpyxl.load_workbook(path).active
    rows = list(sheet.iter_rows(values_only=True))
    assert rows[0][:2] == ("证书号", "操作")
    assert rows[0][7] == "处理结果"
    assert [row[7] for row in rows[1:]] == ["成功"] * 3 + ["失败"] * 4
    assert rows[3][8] == "211013011, 211013013-211013015"
    assert rows[4][10] == "serial_unknown"
    assert {cell.data_type for row in sheet for cell in row} <= {"s", "n"}
    assert sheet["C5"].fill.fgColor.rgb == "FFFFC7CE"

    corrected = openpyxl.load_workbook(path)
    corrected.active["B5"], corrected.active["C5"] = "作废", "211013016"  # its pages are used up
    corrected.active["F5"] = "污损"
    for _ in (6, 7, 8):
        corrected.active.delete_rows(6)
    corrected.save(path)
    again = running.json("submit", str(path), "--yes", "--wait")
    assert again["counts"]["skipped"] == 3
    assert again["counts"]["forms"]["voided"] == 1

    own = running.json("forms")
    assert {f["state"] for f in own["forms"]} == {"verified", "voided"}
    assert {f["type"] for f in own["forms"]} == {"A"}  # self-handled certificates only (S-60)
    assert len(running.json("forms", "--certificate", "b201026902331597")["forms"]) == 3
    assert len(running.json("forms", "--state", "issued")["forms"]) == 53
    passport = running.json("form", "211013209")["forms"][0]
    assert [e["to"] for e in passport["history"]] == [
        "issued", "reserved", "verify_submitted", "verified",
    ]  # fmt: skip
    assert [r["code"] for r in passport["receipts"]] == ["0000"]
    assert [(m["state"], m["sent"]) for m in passport["messages"]] == [("decided", 1)]
    assert passport["messages"][0]["number"] in running.run("form", "211013209")
    assert "核销提交 → 已核销" in running.run("form", "211013209")
    running.run("refresh", "B201026902331597")
    checks = {
        c["check"]: c["result"] for c in running.json("doctor", "--deep", "--wait", "60")["checks"]
    }
    assert checks["invariants"] == "ok"
    assert "failed" not in checks.values()


def test_orders_from_the_command_line(running):
    shown = running.json("verify", "B201026902331597", "--pages", "2", "--yes", "--wait")
    assert [s["serial"] for s in shown["rows"][0]["serials"]] == ["211014001", "211014002"]
    shown = running.json(
        *("void", "B201026902331597", "--serials", "211014003", "--reason", "02", "--yes"),
        *("--text", "水渍", "--wait"),
    )
    assert shown["counts"]["forms"]["voided"] == 1
    shown = running.json(
        *(
            "verify",
            "B201026902331597",
            "--serials",
            "211013212",
            "--source",
            "exporter",
            "--yes",
            "--wait",
        )
    )
    assert shown["counts"]["forms"]["verified"] == 1


def test_formulas_in_the_users_own_cells_stay_text(running):
    path = running.home / "注入.csv"
    path.write_text(
        '证书号,操作,流水号,备注\nB201026902331597,核销,999999999,"=HYPERLINK(""x"")"\n',
        encoding="utf-8",
    )
    running.run("check", str(path), expect=3)
    batch = str(running.json("batch", "list")["batches"][0]["id"])
    for name in ("注入结果.xlsx", "注入结果.csv"):
        running.run("batch", "result", batch, "-o", str(running.home / name))
    cell = openpyxl.load_workbook(running.home / "注入结果.xlsx").active["D2"]
    assert (cell.data_type, cell.value) == ("s", '=HYPERLINK("x")')
    assert "'=HYPERLINK" in (running.home / "注入结果.csv").read_text(encoding="utf-8-sig")
