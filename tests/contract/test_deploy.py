"""What `deploy/` holds is what runs: units against the Procfile, rules and dashboard against the metrics, the proxy."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.serving import make_server

from config.settings import Settings
from customs.profile.bcm1 import Bcm1
from models.writes.cards import note_card
from models.writes.line import close_for_card
from net.webhooks import sign
from tests.conftest import ROOT, settings_for
from tests.support.factories import SENDER
from tests.support.system import PROCFILE, free_port
from tests.support.tokens import make_key
from webhook.app import create_app
from webhook.metrics import exposition

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMMON = DEPLOY / "systemd" / "blankforms-.service.d" / "common.conf"
BINARIES = Path(sys.executable).parent
TOOLS = BINARIES.parent / "tools"
"""Where `make test` unpacks programs of Debian packages that are not to be installed."""

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def keys_of(path):
    """Section -> key -> values; a key may come several times."""
    found = {}

    class Several(dict):
        def __setitem__(self, key, value):
            if isinstance(value, list) and key in self:
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Several, strict=False, delimiters=["="])
    parser.optionxform = str
    parser.read(path)
    for section in parser.sections():
        found[section] = {key: value.splitlines() for key, value in parser.items(section)}
    return found


class TestSystemd:
    def test_there_is_a_unit_for_each_line_of_the_procfile_with_its_command(self):
        assert {u.stem for u in UNITS} == {f"blankforms-{name}" for name in PROCFILE}
        for unit in UNITS:
            service = keys_of(unit)["Service"]
            defaults = dict(
                pair.split("=", 1)
                for line in service.get("Environment", [])
                for pair in line.split()
            )
            line = PROCFILE[unit.stem.removeprefix("blankforms-")].replace("%", "%%")
            for name, default in re.findall(r"\$\{(\w+):-([^}]+)\}", line):
                assert defaults[name] == default
            line = re.sub(r"\$\{(\w+):-[^}]+\}", r"${\1}", line)
            assert service["ExecStart"] == [f"/opt/blankforms/bin/{line}"]

    def test_systemd_has_nothing_to_say_against_them(self, tmp_path):
        folder = tmp_path / "units"
        shutil.copytree(DEPLOY / "systemd", folder)
        for unit in folder.glob("*.service"):
            unit.write_text(unit.read_text().replace("/opt/blankforms/bin", str(BINARIES)))
        done = verify(folder)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        common = folder / COMMON.relative_to(DEPLOY / "systemd")
        common.write_text(common.read_text().replace("RestartSec", "RestrtSec"))
        assert "RestrtSec" in verify(folder).stderr  # it looks

    def test_a_long_outage_is_survived_and_wrong_settings_are_not_tried_again(self):
        found = keys_of(COMMON)
        assert found["Unit"]["StartLimitIntervalSec"] == ["0"]
        service = found["Service"]
        assert service["Restart"] == ["always"]
        assert service["RestartPreventExitStatus"] == ["78"]
        deadline = Settings.model_fields["send_deadline_seconds"].default
        assert int(service["TimeoutStopSec"][0]) > deadline

    def test_secrets_come_as_credentials_and_the_pin_to_the_submitter_alone(self):
        text = "".join(p.read_text() for p in [*UNITS, COMMON])
        for name in re.findall(r"(\w+)_FILE=%d/([\w-]+)", text):
            assert f"LoadCredential={name[1]}:/etc/blankforms/secrets/{name[1]}" in text
        assert [u.stem for u in UNITS if "card-pin" in u.read_text()] == ["blankforms-submitter"]


def verify(folder):
    return subprocess.run(
        ["systemd-analyze", "verify", *map(str, folder.glob("*.service")), str(folder / "blankforms.target")],
        env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def metrics(world):
    """Every metric that the product can give, by its name, with the labels that it was seen with."""
    with world.context.database.write() as session:
        note_card(session, "card", None, world.clock(), world.clock()).not_after = world.clock()
        close_for_card(session, world.clock(), "1002", [])
    text, _ = exposition(world.context.settings, world.context.database, datetime.now(UTC))
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name.startswith("blankforms_"):
                found.setdefault(sample.name, set()).update(sample.labels)
    return found | {"blankforms_reconciliation_differences": {"class"}}  # after a first night


def used_in(expression):
    return re.findall(r"(blankforms_\w+)(?:\{([^}]*)\})?", expression)


class TestPrometheus:
    RULES = (DEPLOY / "prometheus" / "blankforms.rules.yml").read_text()

    def test_promtool_takes_the_rules(self):
        path = DEPLOY / "prometheus" / "blankforms.rules.yml"
        done = subprocess.run([TOOLS / "promtool", "check", "rules", path], capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def test_rules_and_dashboard_name_metrics_that_there_are(self, metrics):
        board = json.loads((DEPLOY / "grafana" / "blankforms.json").read_text())
        shown = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
        rules = re.findall(r"expr: (.+)", self.RULES)
        assert len(rules) >= 10
        assert len(shown) >= 12
        for expression in (*rules, *shown):
            for name, labels in used_in(expression):
                assert name in metrics, expression
                assert set(re.findall(r"(\w+)[=!~]+", labels)) <= metrics[name], expression
        named = {name for expression in shown for name, _ in used_in(expression)}
        assert set(metrics) - named == set()

    def test_every_alert_is_in_the_book(self):
        book = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
        alerts = re.findall(r"alert: (\w+)", self.RULES)
        assert [a for a in alerts if a not in book] == []


def test_the_proxy_lets_callbacks_through_and_nothing_else(database, tmp_path):
    """nginx itself, with the file as it is but for paths and ports."""
    key, certificate = make_key(SENDER)
    (tmp_path / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                          serialization.NoEncryption()))  # fmt: skip
    (tmp_path / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    app = create_app(
        settings_for(tmp_path, CALLBACK_SECRETS=SECRET), database, lambda *_: None, Bcm1()
    )
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    port = free_port()
    site = (DEPLOY / "proxy" / "nginx.conf").read_text()
    site = site.replace("/etc/blankforms/tls", str(tmp_path)).replace(
        "127.0.0.1:8600", f"127.0.0.1:{server.server_port}"
    )
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    config = tmp_path / "nginx.conf"
    places = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(f"daemon off; user root; pid {tmp_path}/nginx.pid; error_log stderr;"
                      f"events {{}} http {{ access_log off; {places}\n{site}\n}}")  # fmt: skip
    command = [TOOLS / "nginx", "-p", tmp_path, "-c", config, "-e", "stderr"]
    with (tmp_path / "nginx.log").open("wb") as log:
        nginx = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        body = json.dumps({"type": "other", "data": {}}).encode()
        now = int(time.time())
        signed = {
            "webhook-id": "m1",
            "webhook-timestamp": str(now),
            "webhook-signature": sign(SECRET, "m1", now, body),
        }
        assert answer(port, "/callbacks/customs", body, signed, nginx) == 202
        assert (
            answer(port, "/callbacks/customs", body, {**signed, "webhook-id": "m2"}, nginx) == 401
        )
        assert answer(port, "/callbacks/customs", b"x" * (65 * 1024), signed, nginx) == 413
        assert answer(port, "/callbacks/customs", None, {}, nginx) == 403
        for path in ("/metrics", "/readyz", "/healthz", "/"):
            assert answer(port, path, None, {}, nginx) == 404
    finally:
        nginx.terminate()
        nginx.wait(20)
        server.shutdown()
        server.server_close()


def answer(port, path, body, headers, nginx):
    """The status; the first call waits until the proxy listens."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", body, headers)
    end = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as response:
                return response.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except urllib.error.URLError:
            assert nginx.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_image_is_built_from_what_is_there():
    text = (DEPLOY / "Containerfile").read_text()
    copied = re.search(r"^COPY (.+) \./$", text, re.MULTILINE)[1].split()
    assert all((ROOT / name).exists() for name in copied)
    assert "--require-hashes -r requirements.lock" in text
    assert 'ENTRYPOINT ["blankforms"]' in text
    ignored = (ROOT / ".containerignore").read_text().split()
    assert not {"Procfile", "samples", "README.md", "requirements.lock"} & set(ignored)
