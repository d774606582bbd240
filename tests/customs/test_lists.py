"""Customs' lists over real HTTP: pages too large, cursors that do not move, pages shorter than asked for."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import func, select

from customs.http import ANSWER_LIMIT, HttpGateway
from customs.profile.bcm1 import Bcm1
from models.rules.errors import AnswerTooLarge, GatewayUnreachable
from models.tables.inbox import InboxMessage
from models.writes.line import customs_link
from tasks.receipts import inbox


@pytest.fixture
def lists():
    """A customs whose lists are what `lists.answer(path, query)` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            server.asked.append(query)
            body = json.dumps(server.answer(parts.path, query)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                pass  # it was too large for them

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    gateway = HttpGateway(Bcm1(), f"http://127.0.0.1:{server.server_port}", "t", 4, 20)
    server.gateway = gateway
    yield server
    gateway.close()
    server.shutdown()
    thread.join()
    server.server_close()


def receipts(count, size, shortest=10**6):
    """Pages of so many receipts, each of so many bytes, none with more than `shortest`."""

    def answer(_path, query):
        after = int(query.get("after") or 0)
        end = min(after + min(int(query["limit"]), shortest), count)
        made = [{"receiptId": f"R{n}", "xml": "x" * size} for n in range(after, end)]
        return {"receipts": made, "next": str(end)}

    return answer


def poll(world, lists):
    world.context.gateway = lists.gateway
    try:
        return inbox.poll(world.context)
    finally:
        del world.context.gateway  # it is the fixture's to close


def polled(world, lists):
    new = poll(world, lists)
    with world.context.database.read() as session:
        kept = session.scalar(select(func.count(InboxMessage.id)))
    with world.context.database.write() as session:
        return new, kept, customs_link(session, world.clock()).cursor


def test_a_page_of_receipts_that_is_too_large_is_asked_for_by_half(world, lists):
    lists.answer = receipts(500, ANSWER_LIMIT // 300)
    assert polled(world, lists) == (500, 500, "500")
    assert [q["limit"] for q in lists.asked][:2] == ["500", "250"]
    assert {q["limit"] for q in lists.asked[1:]} == {"250"}


def test_one_receipt_that_is_too_large_is_an_error_that_is_shown(world, lists):
    lists.answer = receipts(1, ANSWER_LIMIT + 1)
    with pytest.raises(AnswerTooLarge):
        poll(world, lists)


def test_pages_that_are_shorter_than_asked_for_are_not_the_end(world, lists):
    lists.answer = receipts(25, 10, shortest=10)
    assert polled(world, lists) == (25, 25, "25")


ENDLESS = {
    "receipts": lambda gateway: gateway.receipts("7", 10),
    "forms": lambda gateway: gateway.forms("91610131MA6TXQ0D1U", "7", 10),
    "certificates": lambda gateway: gateway.certificates("91610131MA6TXQ0D1U", "7", 10),
}
RECORDS = {"receipts": [{"receiptId": "R", "xml": "<x/>"}], "forms": [], "certificates": []}


@pytest.mark.parametrize("following", ["7", "x" * 256, "\x1b[2J", 7])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_cursor_that_does_not_move_or_is_none_ends_with_an_error(lists, name, following):
    lists.answer = lambda _path, _query: {name: RECORDS[name], "next": following}
    with pytest.raises(GatewayUnreachable, match=r"next|TypeError"):
        ENDLESS[name](lists.gateway)


def test_an_empty_page_of_receipts_may_stay_where_it_is(lists):
    lists.answer = lambda _path, _query: {"receipts": [], "next": "7"}
    assert lists.gateway.receipts("7", 10).next == "7"
