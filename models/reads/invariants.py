"""The invariants (rule 3 of how-it-works.md), each a query that must return nothing, on both databases.

Run at the end of every acceptance test and by `blankforms doctor --deep`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.rules.causes import HELD_BEFORE_0008
from models.rules.states import FORM_MOVES

_AT_CUSTOMS: Final = "('sending', 'in_doubt', 'taken', 'parked')"
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise; `query` gives what breaks it."""

    number: str
    promise: str
    query: str


INVARIANTS: Final = (
    Invariant(
        "1",
        "a serial exists once per form type",
        "SELECT serial, form_type FROM form GROUP BY serial, form_type HAVING COUNT(*) > 1",
    ),
    Invariant(
        "2",
        "a form has at most one live submission item",
        "SELECT form_id FROM item WHERE state = 'under_way' GROUP BY form_id HAVING COUNT(*) > 1",
    ),
    Invariant(
        "3",
        "a form belongs to the certificate of its live or decided item, and to none without one"
        " (unless it was done outside us)",
        "SELECT f.id FROM form f LEFT JOIN item i ON i.form_id = f.id"
        " AND i.state IN ('under_way', 'decided') WHERE NOT f.outside"
        " AND COALESCE(f.certificate, '') <> COALESCE(i.certificate, '')",
    ),
    Invariant(
        "3b",
        "a form done outside us has the certificate that its history says",
        "SELECT f.id FROM form f WHERE f.outside AND COALESCE(f.certificate, '') <>"
        " COALESCE((SELECT e.certificate FROM form_event e WHERE e.form_id = f.id"
        " AND e.from_state <> e.to_state ORDER BY e.id DESC LIMIT 1), '')",
    ),
    Invariant(
        "4a",
        "a submission number is never reused",
        "SELECT number FROM submission GROUP BY number HAVING COUNT(*) > 1",
    ),
    Invariant(
        "4b",
        "every attempt carried the submission's own bytes",
        "SELECT a.id FROM attempt a JOIN submission s ON s.id = a.submission_id"
        " WHERE a.payload_sha256 <> '' AND a.payload_sha256 <> COALESCE(s.payload_sha256, '')",
    ),
    Invariant(
        "4c",
        "what was signed has its bytes, what was not has none",
        "SELECT id FROM submission WHERE (payload IS NULL) <> (signed_at IS NULL)"
        " OR (state = 'prepared' AND payload IS NOT NULL)",
    ),
    Invariant(
        "5",
        "nothing counts as sent without an attempt recorded before",
        "SELECT s.id FROM submission s WHERE s.state IN"
        " ('sending', 'in_doubt', 'taken', 'parked', 'decided', 'refused') AND NOT EXISTS"
        " (SELECT 1 FROM attempt a WHERE a.submission_id = s.id AND a.kind = 'send')",
    ),
    Invariant(
        "6",
        "a second send only after the first certainly did not arrive",
        "SELECT x.id FROM attempt x JOIN attempt p ON p.submission_id = x.submission_id"
        " AND p.kind = 'send' AND p.number = x.number - 1 WHERE x.kind = 'send'"
        " AND COALESCE(p.outcome, '') <> 'not_taken' AND NOT EXISTS"
        " (SELECT 1 FROM attempt q WHERE q.submission_id = x.submission_id AND q.kind = 'ask'"
        " AND q.outcome = 'not_found' AND q.started_at >= COALESCE(p.finished_at, p.deadline_at)"
        " AND q.started_at <= x.started_at)",
    ),
    Invariant(
        "7",
        "verified / voided exactly with a decided item of that action, or adopted from outside us",
        "SELECT f.id FROM form f LEFT JOIN item i ON i.form_id = f.id AND i.state = 'decided'"
        " WHERE (f.state IN ('verified', 'voided') AND NOT f.outside AND i.id IS NULL)"
        " OR (i.action = 'verify' AND f.state <> 'verified')"
        " OR (i.action = 'void' AND f.state <> 'voided')"
        " OR (f.outside AND f.state NOT IN ('verified', 'voided'))",
    ),
    Invariant(
        "8",
        "submitted exactly with an item in sending, in_doubt, taken or parked",
        "SELECT f.id FROM form f WHERE (f.state IN ('verify_submitted', 'void_submitted'))"
        " <> EXISTS (SELECT 1 FROM item i JOIN submission s ON s.id = i.submission_id"
        " WHERE i.form_id = f.id AND i.state = 'under_way' AND s.state IN " + _AT_CUSTOMS + ")",
    ),
    Invariant(
        "8b",
        "reserved exactly with a held item that has not left",
        "SELECT f.id FROM form f WHERE (f.state = 'reserved') <> EXISTS (SELECT 1 FROM item i"
        " LEFT JOIN submission s ON s.id = i.submission_id WHERE i.form_id = f.id"
        " AND i.state = 'under_way' AND COALESCE(s.state, 'prepared') IN ('prepared', 'signed'))",
    ),
    Invariant(
        "9a",
        "only allowed moves in the history",
        "SELECT id FROM form_event WHERE from_state <> to_state AND from_state || '>' || to_state"
        " NOT IN (" + ", ".join(f"'{a.value}>{b.value}'" for a, b in sorted(FORM_MOVES)) + ")",
    ),
    Invariant(
        "9b",
        "each event begins where the one before ended; no move after a final state",
        "SELECT id FROM (SELECT id, from_state, to_state, LAG(to_state) OVER"
        " (PARTITION BY form_id ORDER BY id) AS before FROM form_event) e"
        " WHERE COALESCE(from_state, '') <> COALESCE(before, '')"
        " OR (before IN ('verified', 'voided') AND to_state <> before)",
    ),
    Invariant(
        "9c",
        "the last event equals the state",
        "SELECT f.id FROM form f WHERE f.state <> COALESCE((SELECT e.to_state FROM form_event e"
        " WHERE e.form_id = f.id ORDER BY e.id DESC LIMIT 1), '')",
    ),
    Invariant(
        "9d",
        "a form remembers how many events it has",
        "SELECT f.id FROM form f WHERE f.event_count"
        " <> (SELECT COUNT(*) FROM form_event e WHERE e.form_id = f.id)",
    ),
    Invariant(
        "9f",
        "a form is held exactly when its history says so",
        "SELECT f.id FROM form f WHERE (f.hold IS NOT NULL) <> COALESCE((SELECT"
        " e.cause <> 'release' FROM form_event e WHERE e.form_id = f.id AND"
        " (e.from_state = e.to_state OR (e.to_state = 'issued' AND (e.cause = 'receipt_holds'"
        " OR (e.cause = 'receipt' AND"
        f" SUBSTR(e.reason, 1, 4) IN {tuple(sorted(HELD_BEFORE_0008))}))))"
        " ORDER BY e.id DESC LIMIT 1), FALSE)",
    ),
    Invariant(
        "9e",
        "a lost form is held",
        "SELECT id FROM form WHERE lost_at IS NOT NULL AND hold IS NULL",
    ),
    Invariant(
        "10a",
        "a batch that was checked has one row for each row of the sheet",
        "SELECT b.id FROM batch b WHERE b.state NOT IN ('received', 'unreadable') AND b.row_count"
        " <> (SELECT COUNT(*) FROM batch_row r WHERE r.batch_id = b.id)",
    ),
    Invariant(
        "10b",
        "a finished or cancelled batch holds nothing",
        "SELECT DISTINCT b.id FROM batch b JOIN item i ON i.batch_id = b.id AND i.state = 'under_way'"
        " WHERE b.state IN ('finished', 'cancelled', 'received', 'asked', 'checked', 'awaiting')",
    ),
    Invariant(
        "14a",
        "nobody endorses what they made",
        "SELECT e.id FROM endorsement e LEFT JOIN batch b ON b.id = e.batch_id"
        " WHERE e.decided_by_id IN (e.asked_by_id, b.made_by_id, b.confirmed_by_id)",
    ),
    Invariant(
        "14b",
        "what needed a second person was endorsed, for the plan that was carried out",
        "SELECT b.id FROM batch b WHERE b.needs_second"
        " AND b.state IN ('confirmed', 'working', 'finished')"
        " AND NOT EXISTS (SELECT 1 FROM endorsement e WHERE e.batch_id = b.id"
        " AND e.state = 'endorsed' AND e.plan = b.plan)",
    ),
    Invariant(
        "14c",
        "what waits for a second person is asked for once",
        "SELECT b.id FROM batch b WHERE (b.state = 'awaiting') <> ((SELECT COUNT(*)"
        " FROM endorsement e WHERE e.batch_id = b.id AND e.state = 'waiting') = 1)",
    ),
    Invariant(
        "10c",
        "a finished batch has no open row (one that was taken back before it began was not processed)",
        "SELECT DISTINCT b.id FROM batch b JOIN item i ON i.batch_id = b.id AND i.state = 'planned'"
        " JOIN batch_row r ON r.batch_id = b.id AND r.number = i.row_number AND r.status = 'ok'"
        " WHERE b.state = 'finished'",
    ),
    Invariant(
        "11",
        "what customs told us is stored once",
        "SELECT key FROM inbox GROUP BY key HAVING COUNT(*) > 1",
    ),
    Invariant(
        "13",
        "no order of ours verifies forms past a certificate's known pages unless a person said so",
        "SELECT c.number FROM certificate c JOIN item i ON i.certificate = c.number"
        " AND i.action = 'verify' AND i.state IN ('under_way', 'decided')"
        " JOIN batch b ON b.id = i.batch_id WHERE c.pages IS NOT NULL GROUP BY c.number"
        " HAVING COUNT(*) > MIN(c.pages) AND MAX(CASE WHEN b.beyond_reason IS NULL"
        " AND b.confirmed_at > c.pages_at THEN 1 ELSE 0 END) = 1"
        " AND MAX(CASE WHEN b.beyond_reason IS NOT NULL THEN 1 ELSE 0 END) = 0",
    ),
    Invariant(
        "15",
        "no form below a block's mark may be taken",
        "SELECT f.id FROM form f JOIN block b ON b.id = f.block_id WHERE f.state = 'issued'"
        " AND f.hold IS NULL AND (b.lowest_free IS NULL OR f.serial < b.lowest_free)",
    ),
    Invariant(
        "16a",
        "the forms of each block that stand so are as many as is kept",
        "SELECT key FROM (SELECT key, amount FROM tally UNION ALL SELECT key, amount FROM tally_change"
        " UNION ALL SELECT 'stock:' || stock_id || ':' || block_id || ':' || CASE"
        " WHEN state = 'issued' AND lost_at IS NOT NULL THEN 'lost'"
        " WHEN state = 'issued' AND hold IS NOT NULL THEN 'held'"
        " WHEN state = 'issued' THEN 'on_hand' ELSE state END, -1 FROM form) counted"
        " WHERE key LIKE 'stock%' GROUP BY key HAVING SUM(amount) <> 0",
    ),
    Invariant(
        "16d",
        "the forms of batches under way are as many as is kept",
        "SELECT key FROM (SELECT key, amount FROM tally UNION ALL SELECT key, amount FROM tally_change"
        " UNION ALL SELECT 'batch:' || i.batch_id || ':' || f.state, -1 FROM item i JOIN form f"
        " ON f.id = i.form_id WHERE i.state = 'under_way') counted WHERE key LIKE 'batch%reserved'"
        " OR key LIKE 'batch%submitted' GROUP BY key HAVING SUM(amount) <> 0",
    ),
    Invariant(
        "16c",
        "the list of used forms is what they are",
        "SELECT f.id FROM form f LEFT JOIN used_form u ON u.form_id = f.id WHERE (f.state IN"
        " ('verify_submitted', 'verified', 'void_submitted', 'voided')) <> (u.form_id IS NOT NULL)"
        " OR u.state <> f.state OR u.serial <> f.serial",
    ),
    Invariant(
        "16b",
        "the forms that came and went are as many as is kept",
        "SELECT what FROM (SELECT CASE WHEN key LIKE 'day%entered' THEN 'entered'"
        " WHEN key LIKE 'day%lost' THEN 'lost' WHEN key LIKE 'day%verified' THEN 'verified'"
        " WHEN key LIKE 'day%voided' THEN 'voided' WHEN key LIKE 'day%refused' THEN 'refused' END AS what,"
        " amount FROM (SELECT key, amount FROM tally UNION ALL SELECT key, amount FROM tally_change) kept"
        " UNION ALL SELECT CASE WHEN from_state IS NULL THEN 'entered' WHEN cause = 'lost' THEN 'lost'"
        " WHEN to_state IN ('verified', 'voided') AND from_state <> to_state THEN to_state"
        " WHEN to_state = 'issued' AND from_state IN ('verify_submitted', 'void_submitted') THEN 'refused'"
        " END, -1 FROM form_event) counted WHERE what IS NOT NULL GROUP BY what HAVING SUM(amount) <> 0",
    ),
)


def broken_invariants(session: Session) -> dict[str, list[tuple[Any, ...]]]:
    """What breaks each invariant (some examples); empty when all hold."""
    broken: dict[str, list[tuple[Any, ...]]] = {}
    for invariant in INVARIANTS:
        found = session.execute(text(f"{invariant.query} LIMIT {_SHOWN}")).all()
        if found:
            broken[f"{invariant.number} {invariant.promise}"] = [tuple(row) for row in found]
    return broken


def broken_against_ledger(session: Session, ledger: Callable[[str], Iterable[Any]]) -> list[str]:
    """Invariant 12: no form has two effects; every effect is ours, with the same bytes, and is what we
    have when its message is decided; every acceptance and every final form that we claim exists.

    `ledger` runs a query on the simulator's ledger (`customs.simulator.ledger`); columns by their names.
    """
    ours: dict[str, tuple[str | None, str]] = {
        number: (sha, state)
        for number, sha, state in session.execute(
            text("SELECT number, payload_sha256, state FROM submission")
        )
    }
    theirs = {m["number"]: m["sha256"] for m in ledger("SELECT number, sha256 FROM message")}
    wrong = [
        f"customs has other bytes under {number}"
        for number, sha in theirs.items()
        if not _same_bytes(sha, *ours.get(number, ("", "")))
    ]
    wrong += [
        f"{number} is {state} here and unknown to customs"
        for number, (_, state) in ours.items()
        if state in {"taken", "decided"} and number not in theirs
    ]
    final = {
        (serial, form_type): (state, certificate, outside)
        for serial, form_type, state, certificate, outside in session.execute(
            text(
                "SELECT serial, form_type, state, certificate, outside FROM form"
                " WHERE state IN ('verified', 'voided')"
            )
        )
    }
    seen: set[tuple[str, str]] = set()
    for effect in ledger(_EFFECTS):
        form = (effect["serial"], effect["form_type"])
        if form in seen:
            wrong.append(f"form {form} has two effects")
        seen.add(form)
        if effect["number"] not in ours:
            wrong.append(f"effect on {form} by a stranger's message {effect['number']}")
            continue
        done = ("verified" if effect["operation"] == "V" else "voided", effect["certificate"])
        here = final[form][:2] if form in final else None
        if here != done and (here or ours[effect["number"]][1] == "decided"):
            wrong.append(f"form {form} is {done} at customs, {here} here")
    wrong += [
        f"form {form} is final here, without effect at customs"
        for form in final.keys() - seen
        if not final[form][2]  # adopted from customs' list: perhaps no message of ours did it
    ]
    return wrong


def _same_bytes(theirs: str, ours: str | None, state: str) -> bool:
    """A message that a restored database had not signed was sent, and its bytes are forgotten."""
    return theirs == ours or (ours is None and state in {"in_doubt", "taken", "decided"})


_EFFECTS: Final = (
    "SELECT m.number, d.serial, d.form_type, d.operation, d.certificate FROM decision d"
    " JOIN message m ON m.id = d.message_id WHERE d.effect = 1"
)
