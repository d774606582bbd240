"""The life of forms in any order: every step leaves every invariant true, and the end is the same for all.

Hypothesis chooses the steps: uploads, confirmations, signatures, sendings with every fault of customs,
receipts in any order, deaths at the crash points, sweeps, expiries, cancels, holds, nights and repairs.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select
from werkzeug.serving import make_server

from config import crash
from config.crash import Point
from config.settings import Settings
from customs.http import HttpGateway
from customs.profile.bcm1 import Bcm1
from customs.signing.keyfile import KeyFileSigner
from customs.simulator.app import create_app
from customs.simulator.customs import SimulatedCustoms, SimulatorSettings
from customs.simulator.faults import FaultScript
from models.rules.errors import BlankformsError
from models.rules.states import BatchState, SubmissionState
from models.tables.batches import Batch
from models.tables.database import Database
from models.tables.submissions import Submission
from models.writes.deployment import remember_identity
from net.notifier_http import HttpNotifier
from tasks import upkeep
from tasks.context import Context
from tasks.messages import asking, preparing, sending, signing
from tasks.night import audit, reconciliation, repairing
from tasks.night.repair_actions import Order
from tasks.orders import releasing
from tasks.receipts import applying, inbox
from tasks.stock import custody
from tests.conftest import Clock, Customs, World, settings_for
from tests.support import factories
from tests.support.factories import SENDER, agent_certificate, bring_in, confirm, issued, upload

FORMS = [str(211014001 + n) for n in range(12)]
CERTIFICATES = [agent_certificate(n).number for n in range(1, 6)]
FAULTS = (
    "answer_lost", "error_before", "error_after", "too_many", "truncated", "wrong_number",
    "refuse_message", "refuse_form", "person_first", "receipt_twice", "receipt_contradictory",
    "receipt_never", "receipt_late", "late",
)  # fmt: skip


def make_world(folder: Path, template: Path, key_folder: Path):
    shutil.copy(template, folder / "life.db")
    signer = KeyFileSigner(key_folder, factories.SENDER)
    simulated = SimulatedCustoms(
        SimulatorSettings(
            folder / "simulator",
            [signer.certificate_der()],
            "simulator",
            0,
            None,
            "whsec_" + "A" * 32,
        ),
        FaultScript(),
    )
    server = make_server("127.0.0.1", 0, create_app(simulated), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    chosen: Settings = settings_for(
        folder / "home", SETTLE_SECONDS="300", SEND_DEADLINE_SECONDS="2", LEASE_SECONDS="60"
    )
    clock = Clock()
    context = Context(
        chosen,
        Database(f"sqlite:///{folder}/life.db"),
        lambda *_: None,
        lambda: HttpGateway(Bcm1(), url, "simulator", 4, 2),
        lambda: signer,
        lambda: HttpNotifier([]),
        Bcm1,
        clock,
    )
    with context.database.write() as session:
        remember_identity(session, context.identity, clock())

    def end() -> None:
        context.close()
        server.shutdown()
        thread.join()
        server.server_close()

    return World(context, Customs(simulated, url), clock, []), end


class Died(BaseException):
    """As SIGKILL: nothing of the product catches it."""


DEATHS = {
    Point.SIGNED_NOT_STORED: signing.sign,
    Point.STORED_BEFORE_RING: signing.sign,
    Point.INTENT_COMMITTED: sending.send,
    Point.JOURNAL_NOTED: sending.send,
    Point.ANSWER_READ: sending.send,
    Point.OUTCOME_BEFORE_COMMIT: sending.send,
    Point.ASKED_NOT_RECORDED: asking.ask,
    Point.RECEIPTS_FETCHED: inbox.poll,
    Point.RECEIPTS_STORED: inbox.poll,
    Point.APPLY_BEFORE_COMMIT: applying.apply,
}


class Life(RuleBasedStateMachine):
    """Steps over one small stock and a few certificates."""

    template: Path
    key_folder: Path

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="bf-life-"))
        self.world, self.end = make_world(self.folder, self.template, self.key_folder)
        self.batches: list[int] = []
        self.uploads = 0
        bring_in(
            self.world,
            [issued(SENDER, "B", FORMS[0], len(FORMS))],
            [agent_certificate(n) for n in range(1, 6)],
        )

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            self.comes_to_an_end()
        finally:
            self.end()
            shutil.rmtree(self.folder, ignore_errors=True)

    def comes_to_an_end(self):
        """Customs behaves, time passes, everybody works: nothing is on its way for ever."""
        self.world.customs.play()
        for _ in range(3):
            self.world.clock.forward(hours=13)
            self.world.drain()
        with self.world.context.database.read() as session:
            states = Counter(session.scalars(select(Submission.state)))
        assert not states.keys() & {
            SubmissionState.PREPARED, SubmissionState.SIGNED, SubmissionState.SENDING,
            SubmissionState.IN_DOUBT,
        }, states  # fmt: skip
        findings = list(audit.verify(self.world.context, audit.Verified(), every_anchor=False))
        assert findings == []
        self.sound()

    @rule(
        certificate=st.sampled_from(CERTIFICATES),
        what=st.sampled_from(["named", "pages", "void", "lost"]),
        form=st.sampled_from(FORMS),
    )
    def order(self, certificate, what, form):
        row = {
            "named": (certificate, "核销", form, "", "", ""),
            "pages": (certificate, "核销", "", 2, "", ""),
            "void": (certificate, "作废", form, "", "", "污损"),
            "lost": (certificate, "作废", form, "", "", "遗失"),
        }[what]
        self.uploads += 1
        batch = upload(self.world, [(*row, f"R{self.uploads}")], name=f"{self.uploads}.csv")
        self.batches.append(batch)
        try:
            confirm(self.world, batch)
        except BlankformsError as error:
            assert error.code in {"nothing_to_submit", "plan_moved"}, error

    @rule(fault=st.sampled_from(FAULTS))
    def customs_misbehaves(self, fault):
        self.world.customs.play({"fault": fault, "times": 1, "code": "2106", "seconds": 1})

    @rule()
    def prepare_and_sign(self):
        for batch in self.batches:
            preparing.prepare(self.world.context, batch)
        signing.sign(self.world.context)

    @rule()
    def send(self):
        sending.send(self.world.context)

    @rule(at=st.sampled_from(sorted(DEATHS)))
    def dies(self, at):
        """The step ends at one of its crash points; what it had in memory is gone."""

        def die(here):
            if here is at:
                raise Died

        before, crash._crash = crash._crash, die
        try:
            DEATHS[at](self.world.context)
        except Died:
            pass
        finally:
            crash._crash = before

    @rule()
    def sweep(self):
        upkeep.sweep(self.world.context)

    @rule(index=st.integers(0, 20))
    def expire(self, index):
        if self.batches:
            releasing.expire(self.world.context, self.batches[index % len(self.batches)])

    @rule()
    def customs_decides(self):
        self.world.customs.simulated.decide_due()

    @rule()
    def receipts_come(self):
        inbox.poll(self.world.context)
        applying.apply(self.world.context)

    @rule(which=st.integers(0, 30))
    def customs_calls(self, which):
        """Any receipt of before, once more or for the first time, whatever came since."""
        known = self.world.customs.simulated.ledger.read("SELECT receipt_id, xml FROM receipt")
        if not known:
            return
        told = known[which % len(known)]
        data = {"receiptId": told["receipt_id"], "xml": told["xml"]}
        body = json.dumps({"type": "receipt.created", "data": data}).encode()
        with self.world.context.database.write() as session:
            arrival = inbox.callback_arrival(Bcm1(), f"msg_{told['receipt_id']}", body)
            inbox.store(session, [arrival], self.world.clock())
        applying.apply(self.world.context)

    @rule()
    def ask(self):
        asking.ask(self.world.context)

    @rule(minutes=st.sampled_from([1, 6, 60]))
    def time_passes(self, minutes):
        self.world.clock.forward(minutes=minutes)

    @rule(index=st.integers(0, 20))
    def cancel(self, index):
        if self.batches:
            try:
                releasing.cancel(self.world.context, self.batches[index % len(self.batches)])
            except BlankformsError as error:
                assert error.code == "batch_not_open", error

    @rule(form=st.sampled_from(FORMS), how=st.sampled_from(["hold", "lose", "release"]))
    def custodian(self, form, how):
        change = {"hold": custody.hold, "lose": custody.lose, "release": custody.release}[how]
        change(self.world.context, [form], None, "x")

    @rule(form=st.sampled_from(FORMS), certificate=st.sampled_from(CERTIFICATES))
    def somebody_at_the_portal(self, form, certificate):
        listed = self.world.customs.simulated.ledger.read(
            "SELECT state FROM form WHERE serial = ?", (form,)
        )
        if listed[0]["state"] == "1":
            self.world.customs.simulated.ledger.settle_by_hand(form, "B", "2", certificate)

    @rule()
    def night(self):
        self.world.clock.forward(days=1)
        run_id = reconciliation.open_run(self.world.context)
        reconciliation.reconcile(self.world.context, run_id)
        repairing.repair(self.world.context, run_id, [], Order("甲", "演练"))
        repairing.repair(self.world.context, run_id, [], Order("乙", approve=True))

    @invariant()
    def sound(self):
        if hasattr(self, "world"):
            self.world.assert_sound()

    def __repr__(self):
        return "Life"


@pytest.fixture
def life(sqlite_template, key_folder):
    Life.template, Life.key_folder = sqlite_template, key_folder
    return Life


def test_every_order_of_steps_keeps_every_promise(life):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_whatever_happened_everything_comes_to_an_end(life):
    machine = life()
    machine.begin()
    try:
        for n, certificate in enumerate(CERTIFICATES):
            machine.order(certificate, "named", FORMS[n])
        machine.customs_misbehaves("answer_lost")
        machine.prepare_and_sign()
        machine.dies(Point.INTENT_COMMITTED)
        machine.send()
        machine.world.clock.forward(hours=1)
        machine.world.drain()
        with machine.world.context.database.read() as session:
            states = Counter(session.scalars(select(Batch.state)))
        assert states == {BatchState.FINISHED: 5}
        findings = list(audit.verify(machine.world.context, audit.Verified(), every_anchor=False))
        assert findings == []
        machine.sound()
    finally:
        machine.teardown()
