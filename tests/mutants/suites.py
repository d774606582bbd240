"""Which code is changed, and which tests speak for it: the nearest first, the broad ones last."""

from __future__ import annotations

from pathlib import Path

PROTOCOL, REST = "A", "B"
"""The rules and the protocol of sending, of which more must be noticed; the rest of the critical code."""

LEAST = {PROTOCOL: 95, REST: 85}
"""Percent of the mutants of a class that must be noticed."""

WORDS = {"__init__.py", "errors.py", "card_errors.py", "language.py", "problems.py"}
"""Modules that hold what persons read."""

CLASSES = {
    PROTOCOL: (
        *("models/rules/*.py", "tasks/messages/*.py"),
        *("models/writes/submissions.py", "models/writes/moves.py"),
    ),
    REST: (
        *("models/writes/*.py", "tasks/receipts/*.py", "tasks/night/*.py", "tasks/orders/*.py"),
        *("tasks/people/*.py", "tasks/journal.py", "tasks/pipeline.py", "customs/profile/*.py"),
        *(f"models/reads/{name}.py" for name in ("cards", "certificate_use", "certificates", "customs_list")),
        *(f"models/reads/{name}.py" for name in ("deployment", "endorsements", "line", "overdue", "pauses")),
        "models/reads/people.py",
    ),
}  # fmt: skip

NIGHT = ("tasks/night/test_reconciliation.py", "tasks/night/test_night_traps.py")
MESSAGES = ("tasks/messages", "models/writes/test_message_moves.py", "customs/test_messages.py")
ORDERS = ("tasks/orders",)
RECEIPTS = ("tasks/receipts", "webhook/test_webhook.py")
STOCK = ("tasks/stock", "models/writes/test_numbers.py")
LINE = (
    "tasks/messages/test_line.py",
    "webhook/test_ability.py",
    "tasks/orders/test_told_at_once.py",
)
AT_ONCE = ("models/writes/test_locks.py",)
BROAD = ("tests/tasks/test_main_job.py", "tests/tasks/test_life.py")
"""Last, for every module, and on SQLite alone."""

SUITES = {
    "models/rules/": ("models/rules", *ORDERS),
    "models/rules/acts": ("tasks/people/test_people.py",),
    "models/rules/chain": ("models/rules/test_chain.py", "tasks/night/test_audit.py"),
    "models/rules/differences": ("models/rules/test_differences.py", *NIGHT),
    "models/rules/forecast": ("models/rules/test_differences.py", *STOCK),
    "models/rules/grace": ("tasks/people/test_grace.py",),
    "models/rules/numbers": ("models/rules", "sheets/test_cases.py", "sheets/test_reading.py"),
    "models/rules/people": ("tasks/people",),
    "models/rules/polling": ("models/rules/test_polling.py", *RECEIPTS),
    "models/rules/results": ("tasks/orders", "sheets"),
    "models/rules/serials": ("models/rules", "sheets/test_cases.py", "sheets/test_reading.py", *ORDERS),
    "models/rules/standings": (*STOCK, "models/reads/test_form_list.py"),
    "models/rules/states": ("models/rules", "models/writes/test_message_moves.py", *RECEIPTS, *NIGHT),
    "models/rules/stocktake": ("models/rules/test_differences.py", *STOCK),
    "models/rules/turns": ("models/rules/test_turns.py", "tasks/messages/test_fair.py"),
    "models/rules/two_persons": ("tasks/people",),
    "models/rules/verdicts": ("models/rules/test_tables.py", *RECEIPTS),
    "models/reads/": (*ORDERS, *NIGHT),
    "models/reads/certificate_use": ("tasks/orders/test_pages.py", *RECEIPTS),
    "models/reads/endorsements": ("tasks/people",),
    "models/reads/cards": LINE,
    "models/reads/line": LINE,
    "models/reads/deployment": ("models/writes/test_deployment.py",),
    "models/reads/pauses": ("tasks/orders/test_told_at_once.py",),
    "models/reads/people": ("tasks/people",),
    "models/writes/": ("models/writes", *ORDERS, *RECEIPTS),
    "models/writes/acts": ("tasks/people",),
    "models/writes/announcements": ("tasks/notify", "models/writes/test_locks.py"),
    "models/writes/blocks": (*STOCK, "tasks/orders/test_pages.py"),
    "models/writes/cards": (*LINE, "models/writes/test_locks.py"),
    "models/writes/deployment": ("models/writes/test_deployment.py",),
    "models/writes/endorsements": ("tasks/people", "models/writes/test_locks.py"),
    "models/writes/history": ("tasks/night/test_audit.py", *STOCK, *RECEIPTS),
    "models/writes/holds": (*STOCK, *ORDERS, *RECEIPTS),
    "models/writes/leases": ("tasks/notify", *MESSAGES, "tasks/night/test_night_traps.py"),
    "models/writes/line": LINE,
    "models/writes/low_stock": (*STOCK, "tasks/notify"),
    "models/writes/pauses": ("tasks/orders/test_told_at_once.py",),
    "models/writes/runs": NIGHT,
    "models/writes/tallies": ("models/writes/test_numbers.py", *STOCK),
    "tasks/journal": ("tasks/night/test_restored.py", "webhook/test_ability.py", *LINE),
    "tasks/pipeline": (*ORDERS, *MESSAGES, "tasks/people", "webhook/test_metrics.py"),
    "tasks/messages/": (*MESSAGES, "tasks/orders/test_told_at_once.py", "webhook/test_ability.py", *AT_ONCE),
    "tasks/receipts/": (*RECEIPTS, "models/writes/test_locks.py"),
    "tasks/night/": (*NIGHT, "models/writes/test_locks.py", "tasks/receipts"),
    "tasks/night/audit": ("tasks/night/test_audit.py",),
    "tasks/night/restored": ("tasks/night/test_restored.py",),
    "tasks/orders/": (*ORDERS, "tasks/people", "sheets/test_round_trip.py", "models/writes/test_locks.py"),
    "tasks/people/": ("tasks/people",),
    "customs/profile/": ("customs/test_messages.py", "customs/test_lists.py", *RECEIPTS),
}  # fmt: skip
"""By the beginning of a module's name; the longest counts."""


def class_of(root: Path) -> dict[str, str]:
    """Every module that is changed, and its class."""
    found: dict[str, str] = {}
    for name, patterns in CLASSES.items():
        for pattern in patterns:
            for file in sorted(root.glob(pattern)):
                if file.name not in WORDS:
                    found.setdefault(file.relative_to(root).as_posix(), name)
    return found


def suite_of(module: str) -> list[str]:
    """The tests that speak for a module."""
    longest = max((start for start in SUITES if module.startswith(start)), key=len)
    return [f"tests/{path}" for path in SUITES[longest]]
