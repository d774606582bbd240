"""A second, made-up wire to customs: JSON, other names, codes, answers and paging; and a customs that speaks it.

It shows that nothing outside `customs/profile` and the settings knows the first one. The customs behind it is
the same simulator: what comes is checked, said to it in its own words, and its answers are said in these.
"""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime

from flask import Flask, Response, request
from werkzeug.serving import make_server

from customs.gateway import (
    Conflict,
    CustomsCertificate,
    CustomsForm,
    InDoubt,
    Message,
    MessageLine,
    NotFound,
    NotTaken,
    RawReceipt,
    ReceiptPage,
    Refused,
    Taken,
)  # fmt: skip
from customs.profile import bcm1_xml
from customs.signing.xmldsig import PROFILES
from customs.wire import Call, NotReadable, OtherEvent, Receipt, ReceiptForm
from models.rules.states import Action
from models.rules.verdicts import CustomsState, Said

CODES = {
    "0000": ("OK", Said.DONE),
    "2101": ("E-NO-SUCH-BLANK", Said.FORM_AT_FAULT),
    "2102": ("E-STATE", Said.STATE_DIFFERS),
    "2103": ("E-OWNER", Said.FORM_AT_FAULT),
    "2104": ("E-CERTIFICATE", Said.CERTIFICATE_AT_FAULT),
    "2105": ("E-KIND", Said.FORM_AT_FAULT),
    "2106": ("E-PAGES", Said.CERTIFICATE_AT_FAULT),
    "2107": ("E-USED-ELSEWHERE", Said.FORM_AT_FAULT),
    "4001": ("PENDING", Said.WITH_A_PERSON),
}
MEANINGS = dict(CODES.values())
STATES = {"0": "at-customs", "1": "handed-out", "2": "used", "3": "destroyed"}
STATE_MEANINGS = {word: CustomsState(code) for code, word in STATES.items()}
KINDS = {"USE": Action.VERIFY, "DESTROY": Action.VOID}
KIND_OF = {action: kind for kind, action in KINDS.items()}


class AnotherWire:
    """`WireProfile` of the made-up wire."""

    most_serials = 3

    def signed_message(self, message, signer, signature_profile):
        said = asdict(message) | {
            "made_at": message.made_at.isoformat(),
            "kind": KIND_OF[message.action],
        }
        del said["action"]
        body = json.dumps(said, sort_keys=True).encode()
        signature, certificate = signer.sign(body), signer.certificate_der()
        PROFILES[signature_profile].verify(certificate, body, signature)
        return json.dumps({"order": body.decode(), "by": b64encode(certificate).decode(),
                           "signature": b64encode(signature).decode()}).encode()  # fmt: skip

    def send_call(self):
        return "/v2/orders", "application/json"

    def send_outcome(self, message, status, retry_after, body):
        if status in {201, 208}:
            return self._there(json.loads(body), message.number, message.sha256)
        if status == 400:
            said = json.loads(body)
            return Refused(said["why"], said["text"], of_card=said["why"].startswith("CARD"))
        if status == 429 and retry_after is not None:
            return NotTaken("429", close_seconds=retry_after)
        return InDoubt(f"HTTP {status}")

    def _there(self, said, number, sha256):
        if said["ref"] != number:
            return InDoubt(said["ref"])
        if sha256 is not None and said["digest"] != sha256:
            return Conflict(said["digest"])
        return Taken(said["registered"])

    def ask_call(self, number):
        return Call("/v2/orders", {"ref": number})

    def ask_outcome(self, number, sha256, status, body):
        if status != 200:
            return InDoubt(f"HTTP {status}")
        found = json.loads(body)["found"]
        return self._there(found[0], number, sha256) if found else NotFound()

    def receipts_call(self, after, limit):
        return Call("/v2/decisions", {"offset": after or "0", "size": str(limit)})

    def receipt_page(self, body, after):
        found = json.loads(body)["rows"]
        receipts = [RawReceipt(r["id"], json.dumps(r).encode()) for r in found]
        return ReceiptPage(receipts, str(int(after or 0) + len(found)))

    def _listed(self, path, who, after, limit):
        return Call(path, {"of": who, "offset": after or "0", "size": str(limit)})

    def forms_call(self, holder, after, limit):
        return self._listed("/v2/blanks", holder, after, limit)

    def form_page(self, body, after):
        rows = json.loads(body)["rows"]
        forms = [
            CustomsForm(r["no"], r["kind"], STATE_MEANINGS.get(r["is"], r["is"]), r["for"],
                        date.fromisoformat(r["day"]) if r["day"] else None)
            for r in rows
        ]  # fmt: skip
        return forms, str(int(after or 0) + len(rows)) if rows else None

    def certificates_call(self, enterprise, after, limit):
        return self._listed("/v2/certificates", enterprise, after, limit)

    def certificate_page(self, body, after):
        rows = json.loads(body)["rows"]
        return [CustomsCertificate(**r) for r in rows], str(
            int(after or 0) + len(rows)
        ) if rows else None

    def receipt(self, body):
        try:
            said = json.loads(body)
            forms = [
                ReceiptForm(n, f["no"], MEANINGS.get(f["code"], Said.UNKNOWN), f["code"], f["text"],
                            STATE_MEANINGS[f["is"]])
                for n, f in enumerate(said["blanks"], start=1)
            ]  # fmt: skip
            return Receipt(said["id"], said["to"], said["ref"], said["registered"], KINDS[said["kind"]],
                           said["certificate"], "", datetime.fromisoformat(said["at"]), forms)  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise NotReadable(repr(error)) from error

    def callback(self, body):
        told = json.loads(body)
        if "decision" not in told:
            return OtherEvent(str(told["event"]))
        return RawReceipt(told["decision"]["id"], json.dumps(told["decision"]).encode())

    def meaning(self, code):
        return MEANINGS.get(code, Said.UNKNOWN)


def _page(rows):
    offset, size = int(request.args["offset"]), int(request.args["size"])
    return {"rows": rows[offset : offset + size]}


def another_customs(simulated, signer) -> Flask:
    """Customs on that wire. `signer`: with whose card the simulator is told."""
    app = Flask("another-customs")
    digests: dict[str, str] = {}

    @app.post("/v2/orders")
    def take():
        body = request.get_data()
        packed = json.loads(body)
        order = packed["order"].encode()
        PROFILES["rsa-sha256"].verify(
            b64decode(packed["by"]), order, b64decode(packed["signature"])
        )
        said = json.loads(order)
        said["lines"] = [MessageLine(**line) for line in said["lines"]]
        said["made_at"] = datetime.fromisoformat(said["made_at"])
        message = Message(action=KINDS[said.pop("kind")], **said)
        reply = simulated.take(bcm1_xml.signed_message(message, signer, PROFILES["rsa-sha256"]))
        answer = bcm1_xml.parse_answer(reply.body)
        if reply.status == 422:
            return {"why": f"X{answer.deal_flag}", "text": answer.text}, 400
        digest = digests.setdefault(message.number, hashlib.sha256(body).hexdigest())
        there = {"ref": message.number, "registered": answer.seq_no, "digest": digest}
        return there, 201 if reply.status == 200 else 208

    @app.get("/v2/orders")
    def ask():
        found = simulated.find(request.args["ref"])
        number = request.args["ref"]
        there = (
            [{"ref": number, "registered": found["seqNo"], "digest": digests[number]}]
            if found
            else []
        )
        return {"found": there}

    @app.get("/v2/decisions")
    def decisions():
        rows = []
        for raw in simulated.receipts(0, 500)["receipts"]:
            said = bcm1_xml.parse_receipt(raw["xml"].encode())
            blanks = [{"no": f.serial, "code": CODES[f.code][0], "text": f.text, "is": STATES[f.state]}
                      for f in said.forms]  # fmt: skip
            rows.append({"id": said.receipt_id, "to": said.receiver, "ref": said.number,
                         "registered": said.seq_no, "kind": KIND_OF[said.action],
                         "certificate": said.certificate, "at": said.managed_at.isoformat(),
                         "blanks": blanks})  # fmt: skip
        return _page(rows)

    @app.get("/v2/blanks")
    def blanks() -> Response | dict[str, object]:
        rows = simulated.ledger.read(
            "SELECT * FROM form WHERE holder = ? ORDER BY serial, form_type", (request.args["of"],)
        )
        return _page([{"no": r["serial"], "kind": r["form_type"], "is": STATES[r["state"]],
                       "for": r["certificate"], "day": r["issued_on"]} for r in rows])  # fmt: skip

    return app


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The application over HTTP; gives its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
