"""The simulated customs: takes messages, decides them after a delay, offers and calls receipts."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from customs.profile.bcm1_xml import NAMESPACE, TIME_FORMAT
from customs.simulator import rules
from customs.simulator.faults import Fault, FaultScript, Rule
from customs.simulator.ledger import Ledger
from models.rules.calendar import BEIJING
from net.webhooks import sign

CALL_AGAIN_SECONDS: Final = 2.0
CALLS: Final = 20
CALL_TIMEOUT: Final = 5.0

_ANSWER_FAULTS: Final = (
    *(Fault.ANSWER_LOST, Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.TOO_MANY, Fault.BUSY),
    *(Fault.DRIP, Fault.TRUNCATED, Fault.WRONG_NUMBER, Fault.LATE, Fault.REFUSE_MESSAGE),
)
_NOT_TAKEN: Final = {Fault.ERROR_BEFORE, Fault.TOO_MANY, Fault.BUSY, Fault.REFUSE_MESSAGE}
_RECEIPT_FAULTS: Final = (
    *(Fault.RECEIPT_TWICE, Fault.RECEIPT_LATE, Fault.RECEIPT_NEVER, Fault.RECEIPT_CONTRADICTORY),
    Fault.PERSON_LATE,
)
_WRONG_SECRET: Final = "whsec_" + "AAAA" * 8


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """How one simulator runs."""

    folder: Path
    trusted: Sequence[bytes]
    """Certificates (DER) whose signatures are accepted."""
    token: str
    delay_seconds: float
    callback_url: str | None
    callback_secret: str
    answer_seconds: float = 0.0
    """How long every answer takes longer than it must."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer to a POST, and what to do wrong with it."""

    status: int
    body: bytes
    fault: Rule | None = None


class SimulatedCustoms:
    """One customs with one ledger."""

    def __init__(self, settings: SimulatorSettings, script: FaultScript) -> None:
        self.settings = settings
        self.script = script
        self.ledger = Ledger(settings.folder / "ledger.db")
        self._read: dict[str, rules.Order] = {}
        """Orders taken and not decided yet, by number, so that each is read once."""

    # -- messages -------------------------------------------------------------------------------

    def take(self, body: bytes) -> Reply:
        """Handle a POST /messages after the token was checked."""
        if len(body) > rules.SIZE_LIMIT:
            return Reply(413, b"")
        try:
            order = rules.read_order(body, self.settings.trusted)
        except rules.Rejected as rejected:
            return Reply(422, _answer("", "", "", rejected.flag, rejected.text))
        serials = [serial for serial, _ in order.forms]
        fault = self.script.play(_ANSWER_FAULTS, order.certificate, serials)
        if fault is not None and fault.fault in _NOT_TAKEN:
            return Reply(0, _answer(order.number, "", "", fault.code, fault.text), fault)
        return self._store(order, body, fault)

    def _store(self, order: rules.Order, body: bytes, fault: Rule | None) -> Reply:
        sha256 = hashlib.sha256(body).hexdigest()
        now = time.time()
        visible = now + fault.seconds if fault and fault.fault is Fault.LATE else now
        with self.ledger.transaction() as db:
            known = db.execute(
                "SELECT * FROM message WHERE number = ? AND sender = ?",
                (order.number, order.sender),
            ).fetchone()
            if known is not None and known["visible_at"] <= now:
                text = _answer(
                    order.number, known["seq_no"], known["sha256"], "2201", "请勿重复申报"
                )
                return Reply(409, text)
            if known is not None:  # the first copy is still on its way; this one came before it
                seq_no = known["seq_no"]
                db.execute("UPDATE message SET visible_at = ? WHERE id = ?", (now, known["id"]))
            else:
                count = db.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM message").fetchone()[0]
                seq_no = f"{datetime.now(UTC):%Y}{count:014d}"
                db.execute(
                    "INSERT INTO message (number, sender, sha256, seq_no, body, taken_at,"
                    " visible_at, decide_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (order.number, order.sender, sha256, seq_no, body, now, visible,
                     visible + self.settings.delay_seconds),
                )  # fmt: skip
        number = "BFOTHER" if fault and fault.fault is Fault.WRONG_NUMBER else order.number
        self._read[order.number] = order
        text = _answer(number, seq_no, sha256, "0000", "空白证单申报已接收")
        return Reply(200, text, fault)

    def find(self, number: str) -> dict[str, str] | None:
        """What GET /messages/{number} answers; None when it is not (yet) to be seen."""
        found = self.ledger.read(
            "SELECT * FROM message WHERE number = ? AND visible_at <= ?", (number, time.time())
        )
        if not found:
            return None
        row = found[0]
        return {
            "etpsPreentNo": number,
            "seqNo": row["seq_no"],
            "payloadSha256": row["sha256"],
            "state": "decided" if row["decided"] else "taken",
            "takenAt": datetime.fromtimestamp(row["taken_at"], BEIJING).isoformat(),
        }

    # -- decisions ------------------------------------------------------------------------------

    def decide_due(self) -> int:
        """Decide the messages whose time has come; gives how many."""
        now = time.time()
        with self.ledger.transaction() as db:
            due = db.execute(
                "SELECT * FROM message WHERE decided = 0 AND decide_at <= ? ORDER BY id LIMIT 200",
                (now,),
            ).fetchall()
            for message in due:
                self._decide(db, message, now)
        return len(due)

    def _decide(self, db: sqlite3.Connection, message: sqlite3.Row, now: float) -> None:
        order = self._read.get(message["number"])
        if order is None:  # taken before a restart
            order = rules.read_order(message["body"], self.settings.trusted)
        serials = [serial for serial, _ in order.forms]
        wait = self.script.play((Fault.PERSON_FIRST,), order.certificate, serials)
        if wait is not None:
            lines = [(s, "4001", rules.ISSUED) for s in serials]
            self._offer(db, message, order, lines, now)
            db.execute(
                "UPDATE message SET decide_at = ? WHERE id = ?", (now + wait.seconds, message["id"])
            )
            return
        lines = []
        whole = rules.decide_message(db, order)
        lie = self.script.play((Fault.RECEIPT_DISAGREES,), order.certificate, serials)
        if lie is not None:
            passed = [(s, "0000", rules.STATE_OF[order.operation]) for s in serials]
            self._offer(db, message, order, passed, now, result="2")
            whole = lie.code
        for serial, form_type in order.forms:
            code = whole or rules.decide_form(db, order, serial, form_type)
            refuse = self.script.play((Fault.REFUSE_FORM,), order.certificate, [serial])
            if code == "0000" and refuse is not None:
                code = refuse.code
            if code == "0000":
                db.execute(
                    "UPDATE form SET state = ?, certificate = ?, updated_at = ?"
                    " WHERE serial = ? AND form_type = ?",
                    (rules.STATE_OF[order.operation], order.certificate, now, serial, form_type),
                )
            form = db.execute(
                "SELECT state FROM form WHERE serial = ? AND form_type = ?", (serial, form_type)
            ).fetchone()
            state = form["state"] if form else "0"
            db.execute(
                "INSERT INTO decision (message_id, serial, form_type, operation, certificate,"
                " rep_code, form_state, effect, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (message["id"], serial, form_type, order.operation, order.certificate, code, state,
                 int(code == "0000"), now),
            )  # fmt: skip
            lines.append((serial, code, state))
        db.execute("UPDATE message SET decided = 1 WHERE id = ?", (message["id"],))
        self._read.pop(message["number"], None)
        self._offer_with_faults(db, message, order, lines, now)

    def _offer_with_faults(
        self,
        db: sqlite3.Connection,
        message: sqlite3.Row,
        order: rules.Order,
        lines: list[tuple[str, str, str]],
        now: float,
    ) -> None:
        rule = self.script.play(_RECEIPT_FAULTS, order.certificate, [s for s, _, _ in lines])
        fault = rule.fault if rule else None
        if fault is Fault.RECEIPT_NEVER:
            return
        late = rule.seconds if rule and fault is Fault.RECEIPT_LATE else 0.0
        self._offer(db, message, order, lines, now + late)
        if fault is Fault.RECEIPT_TWICE:
            last = db.execute("SELECT * FROM receipt ORDER BY id DESC LIMIT 1").fetchone()
            db.execute(
                "INSERT INTO receipt (receipt_id, message_id, xml, offered_at, call_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (last["receipt_id"], last["message_id"], last["xml"], now, last["call_at"]),
            )
        if fault is Fault.PERSON_LATE:
            self._offer(db, message, order, [(s, "4001", state) for s, _, state in lines], now)
        if fault is Fault.RECEIPT_CONTRADICTORY:
            self._offer(db, message, order, [(s, "2103", rules.ISSUED) for s, _, _ in lines], now)

    def _offer(
        self,
        db: sqlite3.Connection,
        message: sqlite3.Row,
        order: rules.Order,
        lines: list[tuple[str, str, str]],
        at: float,
        result: str | None = None,
    ) -> None:
        receipt_id = f"R{uuid.uuid4().int % 10**20:020d}"
        xml = _receipt(receipt_id, message["seq_no"], order, lines, at, result)
        skip = self.script.play(
            (Fault.CALLBACK_REFUSED,), order.certificate, [s for s, _, _ in lines]
        )
        call_at = at if self.settings.callback_url and skip is None else None
        db.execute(
            "INSERT INTO receipt (receipt_id, message_id, xml, offered_at, call_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (receipt_id, message["id"], xml, at, call_at),
        )

    # -- receipts -------------------------------------------------------------------------------

    def receipts(self, after: int, limit: int) -> dict[str, Any]:
        """What GET /receipts answers."""
        found = self.ledger.read(
            "SELECT * FROM receipt WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
        )
        offered: list[sqlite3.Row] = []
        for row in found:
            if row["offered_at"] > time.time():
                break  # a cursor must not pass a receipt that is not out yet
            offered.append(row)
        return {
            "receipts": [{"receiptId": r["receipt_id"], "xml": r["xml"]} for r in offered],
            "next": str(offered[-1]["id"] if offered else after),
        }

    def call_due(self) -> int:
        """Send the callbacks whose time has come; gives how many were sent."""
        due = self.ledger.read(
            "SELECT * FROM receipt WHERE call_at IS NOT NULL AND call_at <= ? ORDER BY id LIMIT 50",
            (time.time(),),
        )
        for row in due:
            message_id = f"msg_{row['id']}"
            if self.script.play((Fault.CALLBACK_FORGED,), "", ()):
                opposite = row["xml"].replace("<RepCode>0000<", "<RepCode>2103<")
                self._call(f"{message_id}f", row["receipt_id"], opposite, _WRONG_SECRET)
            secret = self.settings.callback_secret
            accepted = self._call(message_id, row["receipt_id"], row["xml"], secret)
            again = None if accepted or row["calls"] >= CALLS else time.time() + CALL_AGAIN_SECONDS
            with self.ledger.transaction() as db:
                db.execute(
                    "UPDATE receipt SET call_at = ?, calls = calls + 1 WHERE id = ?",
                    (again, row["id"]),
                )
        return len(due)

    def _call(self, message_id: str, receipt_id: str, xml: str, secret: str) -> bool:
        moment = int(time.time())
        body = json.dumps(
            {
                "type": "receipt.created",
                "timestamp": datetime.fromtimestamp(moment, BEIJING).isoformat(),
                "data": {"receiptId": receipt_id, "xml": xml},
            },
            ensure_ascii=False,
        ).encode()
        request = urllib.request.Request(  # noqa: S310 - our own address
            self.settings.callback_url or "",
            data=body,
            headers={
                "Content-Type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(moment),
                "webhook-signature": sign(secret, message_id, moment, body),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_TIMEOUT) as answer:  # noqa: S310
                return bool(200 <= answer.status < 300)  # noqa: PLR2004
        except (urllib.error.URLError, OSError):
            return False


def _answer(number: str, seq_no: str, sha256: str, flag: str, text: str) -> bytes:
    optional = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in (("EtpsPreentNo", number), ("SeqNo", seq_no), ("PayloadSha256", sha256))
        if value
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<CommonResponeMessage xmlns="{NAMESPACE}">'
        f"{optional}<DealFlag>{flag}</DealFlag><CheckInfo>{escape(text)}</CheckInfo>"
        "</CommonResponeMessage>"
    ).encode()


def _receipt(
    receipt_id: str,
    seq_no: str,
    order: rules.Order,
    lines: list[tuple[str, str, str]],
    at: float,
    result: str | None,
) -> str:
    moment = datetime.fromtimestamp(at, BEIJING).strftime(TIME_FORMAT)
    codes = {code for _, code, _ in lines}
    mixed = "3" if codes & {"0000", "4001"} else "2"
    by_codes = {frozenset({"0000"}): "1", frozenset({"4001"}): "4"}
    result = result or by_codes.get(frozenset(codes), mixed)
    returned = "".join(
        f"<BlankCertReturn><GNo>{n}</GNo><SerialNo>{serial}</SerialNo><RepCode>{code}</RepCode>"
        f"<RepMsg>{rules.TEXTS.get(code, '退回')}</RepMsg><FormState>{state}</FormState>"
        "</BlankCertReturn>"
        for n, (serial, code, state) in enumerate(lines, start=1)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Package xmlns="{NAMESPACE}" ver="1.0">'
        f"<EnvelopInfo><version>1.0</version><message_id>{receipt_id}</message_id>"
        f"<file_name>{receipt_id}.xml</file_name><message_type>BCM201</message_type>"
        f"<sender_id>CUSTOMS</sender_id><receiver_id>{order.sender}</receiver_id>"
        f"<send_time>{moment}</send_time></EnvelopInfo><DataInfo><BussinessData>"
        f"<BlankCertReceipt><ReceiptId>{receipt_id}</ReceiptId>"
        f"<EtpsPreentNo>{order.number}</EtpsPreentNo><SeqNo>{seq_no}</SeqNo>"
        f"<OperType>{order.operation}</OperType><CertNo>{order.certificate}</CertNo>"
        f"<ManageResult>{result}</ManageResult><ManageTime>{moment}</ManageTime>{returned}"
        "</BlankCertReceipt></BussinessData></DataInfo></Package>"
    )
