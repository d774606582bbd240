"""A clerk in a process of its own, who orders the same certificates as fifteen others at the same moment."""

from __future__ import annotations

import sys
from pathlib import Path

from config.log import set_up_logging
from models.rules.errors import BlankformsError
from models.rules.states import PagesMode
from models.tables.database import Database
from tasks.context import Context
from tasks.orders import confirming, intake, planning
from tests.conftest import settings_for
from tests.support.factories import certificate_number


def main() -> None:
    """`python -m tests.support.clerks URL HOME CLERK CERTIFICATES`: begins when a line comes on stdin."""
    url, home, clerk, certificates = sys.argv[1:]
    chosen = settings_for(Path(home))
    set_up_logging(chosen)
    database = Database(url)
    context = Context(chosen, database, _nobody, None, None, None, None)  # type: ignore[arg-type]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(1, int(certificates) + 1):
        orders = [
            {"certificate": certificate_number("B", number), "action": "核销", "page_count": "2",
             "reference": f"clerk {clerk}"}
        ]  # fmt: skip
        batch = intake.receive_orders(context, "order", orders, PagesMode.ADDITIONAL)
        planning.check(context, batch)
        try:
            confirming.confirm(context, batch, confirming.Confirmation())
        except BlankformsError as refused:
            sys.stdout.write(f"{refused.code}\n")
        else:
            sys.stdout.write("taken\n")
    database.close()


def _nobody(*_: object) -> None:
    """No broker: nothing is rung."""


if __name__ == "__main__":
    main()
