"""Forms page by page: every form once, in order, whatever is asked for; and nothing else is read."""

from __future__ import annotations

from datetime import date
from itertools import product

import pytest

from models.reads import forms
from models.reads.forms import FormFilter, list_forms
from models.rules.errors import BadArgument
from models.rules.states import FormState
from sheets.imports import CertificateRecord
from tasks.stock import custody
from tests.support.factories import (
    EXPORTER,
    SENDER,
    agent_certificate,
    bring_in,
    confirm,
    issued,
    upload,
)

SELF = [CertificateRecord(f"A21102690233{n:04d}", "A", EXPORTER, EXPORTER, date(2022, 5, 10), 9, "approved")
        for n in range(1, 10)]  # fmt: skip


@pytest.fixture
def stocked(world):
    """Three blocks: self-handled and agent-handled forms, used, voided, held and free."""
    bring_in(
        world,
        [issued(SENDER, "B", "211014001", 30), issued(EXPORTER, "A", "211013001", 30),
         issued(SENDER, "B", "211015001", 4)],
        [*SELF, *(agent_certificate(n) for n in range(1, 10))],
    )  # fmt: skip
    rows = [(c.number, "核销", "", 2) for c in SELF[:4]] + [
        (SELF[5].number, "作废", "211013030", "", "", "01")
    ]
    rows += [(agent_certificate(n).number, "核销", "", 3) for n in range(1, 6)]
    confirm(world, upload(world, rows))
    world.drain()
    custody.hold(world.context, ["211014029"], None, "x")
    confirm(world, upload(world, [(SELF[6].number, "核销", "", 1)], name="b.csv"))
    return world


def every(world, wanted, limit):
    found, after = [], ""
    with world.context.database.read() as session:
        for _ in range(200):
            page = list_forms(session, wanted, limit, after)
            assert len(page.forms) <= limit
            found += page.forms
            after = page.next
            if not after:
                return found
    raise AssertionError("never ends")


FILTERS = {
    "the default set": (FormFilter(), 9),
    "verified": (FormFilter(states=(FormState.VERIFIED,)), 23),
    "voided, by an agent": (FormFilter(states=(FormState.VOIDED,), handling="agent"), 0),
    "free": (FormFilter(states=(FormState.ISSUED,)), 39),
    "reserved": (FormFilter(states=(FormState.RESERVED,)), 1),
    "of an owner": (FormFilter(owner=EXPORTER), 30),
    "of an owner, verified": (FormFilter(owner=SENDER, states=(FormState.VERIFIED,)), 15),
    "of a type": (FormFilter(form_type="B"), 34),
    "self-handled": (FormFilter(handling="self"), 10),
    "of a day": (FormFilter(issued_from=date(2022, 4, 1), issued_to=date(2022, 4, 1)), 64),
    "of a day long ago": (FormFilter(issued_to=date(2021, 4, 1)), 0),
    "of a certificate": (FormFilter(certificate=agent_certificate(2).number), 3),
    "of a certificate, voided": (
        FormFilter(certificate=agent_certificate(2).number, states=(FormState.VOIDED,)),
        0,
    ),
    "of a serial": (FormFilter(serial="211013030"), 1),
}


@pytest.mark.parametrize("name", FILTERS)
def test_each_page_goes_on_where_the_one_before_ended(stocked, name, monkeypatch):
    wanted, count = FILTERS[name]
    whole = every(stocked, wanted, 100)
    assert len(whole) == count
    assert len({(f["serial"], f["type"]) for f in whole}) == count
    assert [f["serial"] for f in whole] == sorted(f["serial"] for f in whole)
    for limit, looked_through in product((1, 7), (3, 10_000)):
        monkeypatch.setattr(forms, "LOOKED_THROUGH", looked_through)
        assert every(stocked, wanted, limit) == whole


def test_a_short_page_has_a_cursor_and_says_what_it_found(stocked, monkeypatch):
    monkeypatch.setattr(forms, "LOOKED_THROUGH", 5)
    with stocked.context.database.read() as session:
        page = list_forms(session, FormFilter(states=(FormState.VOIDED,), owner=EXPORTER), 10)
        assert (page.forms, page.next.split(":")[2]) == ([], "211013005")


@pytest.mark.parametrize("cursor", ["x", "a:b", "1:²:3", "1:99999999999999999999:3"])
def test_a_cursor_that_is_none_is_said(stocked, cursor):
    with stocked.context.database.read() as session, pytest.raises(BadArgument):
        list_forms(session, FormFilter(owner=SENDER), 10, cursor)


def test_the_list_of_used_forms_is_what_they_are(stocked):
    stocked.assert_sound()
