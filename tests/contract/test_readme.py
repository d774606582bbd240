"""The README's receiver is run as it stands there, against our own signatures."""

from __future__ import annotations

import json
import re
import time

import pytest

from net.webhooks import sign
from tests.conftest import ROOT

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv("BLANKFORMS_SECRET", SECRET)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) <= 24
    namespace: dict = {"__name__": "receiver"}
    exec(compile(code, "README.md", "exec"), namespace)
    return namespace["app"].test_client()


def post(client, body, secret=SECRET, key="evt_1"):
    moment = int(time.time())
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(moment),
        "webhook-signature": sign(secret, key, moment, body),
    }
    return client.post("/hooks", data=body, headers=headers).status_code


def test_the_receiver_takes_what_we_sign_once_and_nothing_else(client, capsys):
    body = json.dumps({"type": "batch.finished", "data": {"batch": 1}}).encode()
    assert [post(client, body), post(client, body)] == [204, 204]
    assert capsys.readouterr().out == "batch.finished {'batch': 1}\n"
    assert post(client, body, secret="whsec_" + "B" * 32) == 401
    assert client.post("/hooks", data=body).status_code == 401
