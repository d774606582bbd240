"""Whatever sheet we write comes back without a question, and never orders anything that was not ordered before."""

from __future__ import annotations

import pytest

from models.rules.errors import NoHeaderRow
from models.rules.language import Language, use_language
from models.rules.states import PagesMode, RowStatus
from sheets.headers import header_key, is_ours
from sheets.reader import read_orders
from sheets.reading import Asked
from sheets.register import MOVEMENT_TITLES
from sheets.result import (
    CHECK,
    RESULT,
    ROW_HEADER,
    Line,
    write_lines,
    write_list,
)
from sheets.template import write_template
from tests.support.factories import sheet

HEADER = ("证书号", "操作", "流水号", "页数", "备注")
ROW = ("B201026902331597", "核销", "211013209", "", "加急")
ASKED = Asked(PagesMode.ADDITIONAL, stock=[("211013201", "211013300")])


@pytest.fixture(params=list(Language))
def language(request):
    use_language(request.param)
    return request.param


def read(path):
    reading = read_orders(path.read_bytes(), path.name, ASKED, 1 << 24)
    return reading, list(reading.rows)


@pytest.mark.parametrize("name", ["r.xlsx", "r.csv"])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("added", [RESULT.columns, CHECK.columns], ids=["result", "check"])
def test_a_result_or_a_check_comes_back_as_the_persons_own_sheet(
    tmp_path, language, name, compact, added
):
    results = ["失败", "211013209", "作废", "action_unknown", "核销", "作废", "211013210", "1"][
        : len(added)
    ]
    row = Line(2, ROW, results, frozenset({2}), refused=True)
    write_lines(tmp_path / name, 1, HEADER, [row], added, compact=compact)
    reading, (draft,) = read(tmp_path / name)
    assert reading.questions == []
    assert [serial for serial, _ in draft.serials] == ["211013209"]
    assert draft.status is RowStatus.OK
    second = Line(2, draft.cells, results, frozenset(), refused=True)
    write_lines(tmp_path / f"2{name}", 1, reading.header, [second], added, compact=compact)
    again, _ = read(tmp_path / f"2{name}")
    assert again.header == reading.header  # what we added is not added twice


def test_every_column_that_we_add_is_known_as_ours_in_both_languages():
    for title in (*(c.title for a in (RESULT, CHECK) for c in a.columns), ROW_HEADER):
        assert is_ours(title.zh), title.zh
        assert is_ours(title.en), title.en


@pytest.mark.parametrize("word", ["作废", "已核销", "√", "报废处理"])
@pytest.mark.parametrize("header", ["处理结果", "建议", "失败原因", "状态"])
def test_a_persons_own_column_of_such_a_name_is_asked_about_when_it_says_an_action(
    tmp_path, header, word
):
    rows = [("B201026902331597", "211013209", word)]
    (tmp_path / "r.csv").write_bytes(sheet(rows, ("证书号", "流水号", header)))
    reading, _ = read(tmp_path / "r.csv")
    assert [q.what for q in reading.questions] == [header]


def test_what_was_done_is_left_alone_and_a_result_serial_orders_nothing(tmp_path):
    header = ("证书号", "操作", "页数", *(c.title.zh for c in RESULT.columns))
    rows = [
        ("B201026902331597", "核销", "2", "成功", "211013209-211013210"),
        ("B201026902331597", "核销", "2", "失败", ""),
    ]
    (tmp_path / "r.csv").write_bytes(sheet(rows, header))
    reading, drafts = read(tmp_path / "r.csv")
    assert reading.questions == []
    assert [d.status for d in drafts] == [RowStatus.SKIPPED, RowStatus.OK]
    assert drafts[1].page_count == 2


@pytest.mark.parametrize(
    "titles",
    [
        ("流水号", "类型", "状态", "证书号", "持有企业", "领用日期", "停用"),
        ("serial", "type", "state", "certificate", "owner", "issued", "hold"),
        ("证书号", "类型", "出口商", "录入企业", "审核日期", "页数", "状态", "空白证单"),
        ("certificate", "type", "exporter", "entered by", "approved", "pages", "state", "forms"),
        ("类别", "流水号", "本系统", "海关", "证书号", "天", "处理"),
        ("class", "serials", "here", "customs", "certificate", "days", "repair"),
        tuple(t.zh for t in MOVEMENT_TITLES),
        tuple(t.en for t in MOVEMENT_TITLES),
    ],
)
def test_a_list_or_the_register_is_no_order(tmp_path, titles):
    write_list(tmp_path / "r.xlsx", titles, [["211013209" for _ in titles]])
    with pytest.raises(NoHeaderRow):
        read(tmp_path / "r.xlsx")
    assert len({header_key(t) for t in titles}) == len(titles)


def test_the_template_is_not_questioned_and_its_examples_are_not_carried_out(tmp_path):
    write_template(tmp_path / "t.xlsx")
    reading, drafts = read(tmp_path / "t.xlsx")
    assert reading.questions == []
    assert {d.status for d in drafts} == {RowStatus.SKIPPED}
