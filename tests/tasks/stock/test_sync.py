"""The first sync: from the sender alone to every enterprise that its certificates lead to."""

from __future__ import annotations

from sqlalchemy import func, select

from models.tables.certificates import Certificate
from models.tables.forms import Form
from sheets.imports import CertificateRecord
from tasks.stock import imports
from tests.support.factories import EXPORTER, SENDER, certificate_number, issued

OTHERS = ("916100007102000157", "916100007102000232", "91610000710200031W")
CHAIN = (
    (SENDER, EXPORTER),
    (EXPORTER, OTHERS[0]),
    (OTHERS[0], OTHERS[1]),
    (OTHERS[1], OTHERS[2]),
)
"""Who entered a certificate for whom: each names one enterprise more."""


def test_goes_round_until_nothing_new_appears_and_takes_the_stock_of_all(world):
    ledger = world.customs.simulated.ledger
    ledger.approve(
        (certificate_number("B", n), "B", exporter, agent, None, 2, "approved")
        for n, (agent, exporter) in enumerate(CHAIN)
    )
    for n, owner in enumerate((SENDER, *OTHERS)):
        first = 211014001 + 100 * n
        ledger.issue((str(first + i), "B", owner, None) for i in range(10))
    done = imports.sync(world.context)
    assert (done.certificates.new, done.forms.new, done.enterprises) == (4, 40, 5)
    again = imports.sync(world.context)
    assert (again.certificates.new, again.forms.new) == (0, 0)
    with world.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Certificate)) == 4
        assert session.scalar(select(func.count()).select_from(Form)) == 40


def test_what_is_known_from_a_sheet_leads_on_too(world):
    stranger = CertificateRecord(
        certificate_number("B", 9), "B", OTHERS[0], OTHERS[1], None, 2, "approved"
    )
    imports.store_certificates(world.context, [stranger])
    imports.add_ranges(world.context, [issued(OTHERS[2], "B", "211014001", 1)], "sheet")
    assert imports.sync(world.context).enterprises == 4
