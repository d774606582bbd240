"""Nobody but customs is believed: not a byte of a signed callback may differ."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.rules.errors import DatabaseUnreachable
from models.rules.states import InboxState
from net.webhooks import SignatureRefused, sign, verify
from tasks.receipts.inbox import Arrival
from tests.webhook.test_webhook import SECRET, call, client, inbox, rings, told  # noqa: F401
from webhook.app import BODY_LIMIT
from webhook.together import Together


def changed_messages(signature, message_id, stamp, body):
    """Every bit of the body, every character of the headers, every cut."""
    for i in range(len(body)):
        for bit in range(8):
            other = body[:i] + bytes([body[i] ^ 1 << bit]) + body[i + 1 :]
            yield signature, message_id, stamp, other
    for field, text in (("id", message_id), ("time", stamp), ("signature", signature)):
        for i, old in enumerate(text):
            for new in sorted(set("0123456789abcXYZ+/=._ ,") - {old}):
                other = text[:i] + new + text[i + 1 :]
                yield (
                    other if field == "signature" else signature,
                    other if field == "id" else message_id,
                    other if field == "time" else stamp,
                    body,
                )
    for cut in range(len(signature)):
        yield signature[:cut], message_id, stamp, body
        yield signature + signature[3 : 4 + cut], message_id, stamp, body
    yield signature.swapcase(), message_id, stamp, body
    yield "v1," + signature[3:].lower(), message_id, stamp, body
    yield signature.removeprefix("v1,"), message_id, stamp, body
    yield signature.replace("v1,", "v1a,"), message_id, stamp, body
    for cut in range(len(body)):
        yield signature, message_id, stamp, body[:cut]
    yield signature, message_id, stamp, body + b"x"


def test_of_thousands_of_changed_messages_none_is_accepted():
    body = json.dumps(told("R1", "<x>核销</x>" + "y" * 1500), ensure_ascii=False).encode()
    signature = sign(SECRET, "msg_1", 1000, body)
    verify([SECRET], "msg_1", "1000", signature, body, 1000)
    count = 0
    for changed, message_id, stamp, other in changed_messages(signature, "msg_1", "1000", body):
        count += 1
        with pytest.raises(SignatureRefused):
            verify([SECRET], message_id, stamp, changed, other, 1000)
    assert count > 10_000


@pytest.mark.parametrize(
    ("moment", "good"), [(699, False), (700, True), (1300, True), (1301, False)]
)
def test_a_rightly_signed_message_is_good_for_five_minutes_either_way(moment, good):
    signature = sign(SECRET, "m", moment, b"{}")
    try:
        verify([SECRET], "m", str(moment), signature, b"{}", 1000)
    except SignatureRefused:
        assert not good
    else:
        assert good


def test_an_id_that_is_too_long_is_refused_though_rightly_signed(client):  # noqa: F811
    assert call(client, told(), "m" * 255).status_code == 202
    assert call(client, told("R2"), "m" * 256).status_code == 401


def chunked(client, body):  # noqa: F811
    stamp = int(time.time())
    return client.post(
        "/callbacks/customs",
        input_stream=io.BytesIO(body),
        content_length=None,
        environ_overrides={
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
            "CONTENT_LENGTH": "",
        },
        headers={
            "webhook-id": "c",
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(SECRET, "c", stamp, body),
        },
    )


def test_a_chunked_body_has_the_same_limit(client):  # noqa: F811
    assert chunked(client, json.dumps(told()).encode()).status_code == 202
    assert chunked(client, b"x" * (BODY_LIMIT + 1)).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60000,
        b'{"type":"receipt.created","data":{"receiptId":"a\\u0000b","xml":"x"}}',
        b'{"type":"receipt.created","data":{"receiptId":"\\ud800","xml":"x"}}',
        b'{"type":"receipt.created","data":{"receiptId":"a","xml":"\\ud800"}}',
    ],
)
def test_what_customs_signed_and_nobody_can_read_is_kept_aside(client, database, body):  # noqa: F811
    assert call(client, body).status_code == 202
    assert inbox(database)[0].state == InboxState.QUARANTINED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
CALLBACK = st.fixed_dictionaries(
    {"type": st.just("receipt.created") | JSON,
     "data": st.fixed_dictionaries({"receiptId": st.text(max_size=300) | JSON, "xml": st.text() | JSON}) | JSON}
)  # fmt: skip


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(CALLBACK | JSON)
def test_whatever_customs_signs_is_taken_and_never_a_failure(client, value):  # noqa: F811
    try:
        body = json.dumps(value).encode()
    except UnicodeEncodeError:
        return
    assert call(client, body, f"msg_{hash(body)}").status_code == 202


def arrival(key):
    return Arrival(key, "callback", None, b"x")


class Written:
    """A database that writes the first arrival when it is told to; what fails is said once."""

    def __init__(self, *failing):
        self.keys, self.failing = [], list(failing)
        self.told_meanwhile = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.together, self.told = Together(self), []
        self.threads = []

    def __call__(self, arrivals):
        known = {key for keys in self.keys for key in keys}
        self.keys.append([a.key for a in arrivals])
        if not self.begun.is_set():
            self.begun.set()
            assert self.go_on.wait(10)
        elif self.failing:
            raise self.failing.pop()
        self.told_meanwhile.append(len(self.told))
        return {a.key for a in arrivals} - known

    def ask(self, key):
        try:
            answer = self.together.store(arrival(key))
        except DatabaseUnreachable as error:
            answer = error.code
        self.told.append((key, answer))

    def come_while_one_is_written(self, keys):
        """A first one is being written while these come; then all go on to their end."""
        for key in ("first", *keys):
            self.threads.append(threading.Thread(target=self.ask, args=(key,)))
            self.threads[-1].start()
            assert self.begun.wait(10)
        end = time.monotonic() + 10
        while self.together._waiting.qsize() < len(keys) and time.monotonic() < end:
            time.sleep(0.001)
        self.go_on.set()
        for thread in self.threads:
            thread.join(10)


def test_what_comes_together_is_written_together_and_each_hears_of_its_own():
    """A hundred and twenty at once: a hundred in one transaction, none is told before it is written, and of
    two that are the same one is new."""
    written, keys = Written(), [f"k{n % 70}" for n in range(120)]
    written.come_while_one_is_written(keys)
    assert [len(some) for some in written.keys] == [1, 100, 20]
    nobody, first, *_ = written.told_meanwhile
    assert nobody == 0
    assert first <= 1
    assert Counter(key for key, _ in written.told) == Counter(["first", *keys])
    new = sorted(key for key, is_new in written.told if is_new)
    assert new == sorted({"first", *keys})


def test_what_could_not_be_written_is_said_to_everyone_who_waited():
    written = Written(DatabaseUnreachable(detail="away"))
    written.come_while_one_is_written(["a", "b", "c"])
    assert dict(written.told) == {
        "first": True,
        **dict.fromkeys(("a", "b", "c"), DatabaseUnreachable.code),
    }
    assert [len(some) for some in written.keys] == [1, 3], "and not tried again one by one"
    written.keys.pop()
    written.ask("a")
    assert written.told[-1] == ("a", True)


def test_one_that_the_database_refuses_does_not_cost_the_others_of_its_moment():
    first_is_in, go_on, stored, told = threading.Event(), threading.Event(), [], {}

    def write(arrivals):
        keys = [a.key for a in arrivals]
        if keys == ["first"]:
            first_is_in.set()
            go_on.wait(10)
        if "refused" in keys:
            raise ValueError("refused")
        stored.append(keys)
        return keys

    together = Together(write)

    def one(key):
        try:
            told[key] = together.store(arrival(key))
        except ValueError as error:
            told[key] = str(error)

    threads = [threading.Thread(target=one, args=("first",))]
    threads[0].start()
    assert first_is_in.wait(10)
    for key in ("a", "refused", "b"):  # they wait while the first is being written
        threads.append(threading.Thread(target=one, args=(key,)))
        threads[-1].start()
    end = time.monotonic() + 10
    while together._waiting.qsize() < 3 and time.monotonic() < end:
        time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert told == {"first": True, "a": True, "refused": "refused", "b": True}
