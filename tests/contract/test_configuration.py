"""Configuration against reality: queues, task names, migrations, settings, packaging, banned words."""

from __future__ import annotations

import ast
import pickle
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads

from config.crash import SWITCH
from config.errors import ConfigurationError
from config.names import Queue, Task
from config.settings import Settings, load_settings
from models.tables.everything import metadata
from models.tables.schema import HEAD, current_version
from tasks.app import MODULES, QUEUES, app, configure
from tasks.home import prepare_home
from tasks.opening import connect
from tests.conftest import ROOT
from tests.support.factories import SENDER

PACKAGES = (
    *("config", "models", "net", "customs", "sheets", "tasks", "workers", "webhook", "console"),
    "cli",
)
PYTHON = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]


def test_every_queue_has_a_process_that_consumes_it():
    procfile = (ROOT / "Procfile").read_text()
    consumed = set(re.findall(r"--queues (\S+)", procfile))
    assert consumed == {queue.value for queue in Queue}
    assert set(QUEUES.values()) <= set(Queue)


def test_every_task_name_is_registered_and_is_its_modules_function():
    for module in MODULES:
        import_module(module)
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == {task.value for task in Task}
    for name in ours:
        module, _, function = name.rpartition(".")
        assert app.tasks[name].run.__module__ == f"tasks.{module}"
        assert app.tasks[name].run.__name__ == f"{function}_task"


def test_migrations_and_models_say_the_same(database):
    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, metadata) == []
    assert current_version(database) == HEAD
    newest = sorted(p.stem for p in (ROOT / "models" / "migrations" / "versions").glob("0*.py"))[-1]
    assert newest.startswith(HEAD)


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_celery_is_used_plainly(path):
    banned = {"retry", "delay", "apply_async", "chain", "group", "chord", "signature"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in banned - {"group"}, f"{path}:{node.lineno}"
        if isinstance(node, ast.keyword):
            assert node.arg not in {"countdown", "eta"}, f"{path}:{node.lineno}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celery"):
            assert not banned & {alias.name for alias in node.names}


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_environment_is_read_in_config_alone(path):
    if path.is_relative_to(ROOT / "config"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            hands_on = path.name in {
                "up.py",
                "backup.py",
            }  # gives its own environment to its children
            assert owner != "os" or hands_on, f"{path}:{node.lineno}"


def test_env_example_names_every_setting():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?\s*([A-Z0-9_]+)=", text, re.MULTILINE))
    wanted = {name.upper() for name in Settings.model_fields}
    assert wanted - named - {n.removesuffix("_FILE") for n in named} == set()
    known = wanted | {f"{name}_FILE" for name in wanted}
    assert named - known == set()


def test_the_packages_of_the_wheel_are_those_of_the_tree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(listed) == sorted(PACKAGES)
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()
        assert Path(import_module(package).__file__ or "").is_relative_to(ROOT)


def test_lock_files_pin_by_hash_and_carry_no_addresses():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        pins = re.findall(r"^[a-z0-9-_.]+(?:\[[a-z,]+\])?==", text, re.MULTILINE)
        assert len(pins) > 50
        assert text.count("--hash=sha256:") >= len(pins)


PRODUCTION = {"BLANKFORMS_ENV": "production"}
CUSTOMS = {
    "CUSTOMS_URL": "https://customs.example",
    "CUSTOMS_TOKEN": "t",
    "ENTERPRISE_CODE": SENDER,
}
OIDC = {"OIDC_ISSUER": "https://id.example", "OIDC_CLIENT_ID": "blankforms"}
CARD = {"PKCS11_MODULE": "/bin/sh", "PKCS11_TOKEN_LABEL": "t", "PKCS11_KEY_LABEL": "k"}
"""What a deployment with a real customs and a card says at least."""


def test_the_broker_can_ring_and_nothing_else():
    configure(load_settings({}))
    assert app.conf.accept_content == ["json"]
    assert app.conf.worker_enable_remote_control is False
    assert app.conf.task_create_missing_queues is False
    with pytest.raises(ContentDisallowed):
        loads(pickle.dumps(1), "application/x-python-serialize", "binary",
              accept=app.conf.accept_content)  # fmt: skip


class TestSettings:
    def load(self, **environ):
        return load_settings(environ)

    def test_an_empty_environment_is_the_embedded_system(self):
        chosen = self.load()
        assert chosen.simulated
        assert chosen.sqlalchemy_url.startswith("sqlite:////")
        assert chosen.celery_broker_url.startswith("redis+socket:///")

    def test_what_a_deployment_needs_is_enough(self):
        assert self.load(**CUSTOMS).customs == "https://customs.example:443"
        assert self.load(**CARD).pkcs11_token_label == "t"
        assert not self.load(**PRODUCTION, **CUSTOMS, **CARD, **OIDC).simulated

    @pytest.mark.parametrize(
        ("environ", "said"),
        [
            ({"SEND_CONCURRENCY": "many"}, "SEND_CONCURRENCY: Input should be a valid integer"),
            ({"TZ": "Mars/Olympus"}, "TZ: Value error, not a time zone"),
            ({**CUSTOMS, "ENTERPRISE_CODE": ""}, "ENTERPRISE_CODE: needed with CUSTOMS_URL"),
            ({**CUSTOMS, "CUSTOMS_TOKEN": ""}, "CUSTOMS_TOKEN or CUSTOMS_TOKEN_FILE: needed with"),
            ({**CUSTOMS, "CUSTOMS_URL": "ftp://x"}, "CUSTOMS_URL: must begin with http:// or https://"),
            ({**CUSTOMS, "CUSTOMS_URL": "https://x:port"}, "CUSTOMS_URL: Port could not be cast"),
            ({"ENTERPRISE_CODE": "123"}, "ENTERPRISE_CODE: not a unified social credit code"),
            ({**CARD, "PKCS11_MODULE": "/nowhere.so"}, "PKCS11_MODULE: /nowhere.so does not exist"),
            ({"PKCS11_PIN": "1"}, "PKCS11_PIN: 请改用 PKCS11_PIN_FILE / use PKCS11_PIN_FILE"),
            ({**CARD, "SIGNATURE_PROFILE": "sm2-sm3"}, "SIGNATURE_MECHANISM: needed with SIGNATURE_PROFILE"),
            ({**CARD, "PKCS11_TOKEN_LABEL": ""}, "PKCS11_TOKEN_LABEL: needed with PKCS11_MODULE"),
            ({**CARD, "PKCS11_KEY_LABEL": ""}, "PKCS11_KEY_LABEL or PKCS11_KEY_ID: needed with"),
            ({**CARD, "PKCS11_KEY_ID": "xyz"}, "PKCS11_KEY_ID: Value error, non-hexadecimal"),
            ({"LEASE_SECONDS": "10"}, "LEASE_SECONDS: must be greater than SEND_DEADLINE_SECONDS"),
            ({"SIGNATURE_PROFILE": "md5"}, "SIGNATURE_PROFILE: Input should be 'rsa-sha256'"),
            ({"CALLBACK_SECRETS": "whsec_QUFB"}, "CALLBACK_SECRETS: each must be whsec_"),
            ({"CALLBACK_SECRETS": "QUFB" * 8}, "CALLBACK_SECRETS: each must be whsec_"),
            ({"CALLBACK_SECRETS": "whsec_" + "QUFB" * 22}, "CALLBACK_SECRETS: each must be whsec_"),
            ({"NOTIFICATION_KEY": "k" * 31}, "NOTIFICATION_KEY: at least 32 characters"),
            ({**OIDC, "OIDC_ISSUER": "ldap://x"}, "OIDC_ISSUER: must begin with http:// or https://"),
            ({**OIDC, "OIDC_ISSUER": "https://x:port"}, "OIDC_ISSUER: Port could not be cast"),
            ({**OIDC, "OIDC_ISSUER": "http://id.example"}, "OIDC_ISSUER: https://, but for a private address"),
            ({**OIDC, "OIDC_ISSUER": "https://u:p@id.example"}, "OIDC_ISSUER: no user, query or fragment"),
            ({**OIDC, "OIDC_ISSUER": "https://id.example/?x"}, "OIDC_ISSUER: no user, query or fragment"),
            ({**OIDC, "OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID: needed with OIDC_ISSUER"),
            ({**PRODUCTION, **CUSTOMS, **CARD, **OIDC, "OIDC_ISSUER": "http://10.1.2.3"}, "OIDC_ISSUER: https:// in production"),
            ({SWITCH: "confirmed:1", **PRODUCTION, **CUSTOMS, **CARD}, f"{SWITCH}: not in production"),
            ({**PRODUCTION, **CARD}, "CUSTOMS_URL: needed in production, the simulator is refused"),
            ({**PRODUCTION, **CUSTOMS}, "PKCS11_MODULE: needed in production, the key file is refused"),
            ({**PRODUCTION, **CUSTOMS, **CARD, "CUSTOMS_URL": "http://customs.example"}, "CUSTOMS_URL: https:// in production"),
            ({**PRODUCTION, **CUSTOMS, **CARD, "CUSTOMS_URL": "https://u:p@customs.example"}, "CUSTOMS_URL: no user or password"),
            ({**PRODUCTION, **CUSTOMS, **CARD, "SETTLE_SECONDS": "0"}, "SETTLE_SECONDS: more than 0 in production"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_by_its_name(self, environ, said):
        """Nothing else is wrong, so that nothing else can have said it."""
        with pytest.raises(ConfigurationError) as refused:
            self.load(**environ)
        assert str(refused.value).startswith(said)

    @pytest.mark.parametrize(
        ("url", "customs"),
        [
            (None, "simulator"),
            ("https://Customs.Example/api/", "https://customs.example:443"),
            ("https://customs.example:443", "https://customs.example:443"),
            ("http://10.1.2.3:8080/x?y", "http://10.1.2.3:8080"),
            ("http://[FD00::1]", "http://[fd00::1]:80"),
        ],
    )
    def test_customs_is_known_by_the_origin_of_its_address(self, url, customs):
        more = {"CUSTOMS_URL": url, "ENTERPRISE_CODE": SENDER, "CUSTOMS_TOKEN": "t"} if url else {}
        assert self.load(**more).customs == customs

    @pytest.mark.parametrize("pin", ["", "/dev/null", "/nowhere"])
    def test_the_pin_is_asked_of_the_process_that_opens_the_card_alone(self, pin):
        chosen = self.load(**CARD, **({"PKCS11_PIN_FILE": pin} if pin else {}))
        with pytest.raises(ConfigurationError, match="PKCS11_PIN_FILE"):
            chosen.require_pin()
        self.load().require_pin()  # no card, no PIN

    def test_blanks_behind_a_label_and_the_way_hex_is_written_do_not_matter(self):
        chosen = self.load(PKCS11_TOKEN_LABEL="customs  ", PKCS11_KEY_ID="0a")
        assert (chosen.pkcs11_token_label, chosen.pkcs11_key_id) == ("customs", "0A")

    def test_a_token_may_travel_in_clear_to_a_machine_inside_alone(self):
        inside = {**PRODUCTION, **CUSTOMS, **CARD, "CUSTOMS_URL": "http://10.1.2.3:8080"}
        assert self.load(**inside).customs == "http://10.1.2.3:8080"

    def test_who_signs_in_by_oidc_is_proved_over_tls_or_by_a_machine_inside_that_is_tried(self):
        for inside in ("http://127.0.0.1:8080/realms/x", "http://10.1.2.3", "http://localhost"):
            assert self.load(**{**OIDC, "OIDC_ISSUER": inside}).oidc_issuer == inside

    def test_the_secret_of_oidc_is_asked_of_the_process_that_persons_sign_in_at_alone(self):
        outside = {**OIDC, "DATABASE_URL": "postgres://h/d"}
        with pytest.raises(ConfigurationError, match=r"OIDC_CLIENT_SECRET.*; NOTIFICATION_KEY"):
            self.load(**outside).require_oidc()
        self.load(**outside, OIDC_CLIENT_SECRET="s", NOTIFICATION_KEY="k" * 32).require_oidc()
        self.load().require_oidc()  # passwords alone

    def test_a_part_of_a_password_is_not_said(self):
        chosen = self.load(DATABASE_URL="postgresql://u:p@ss:w0rd@h/db")
        with pytest.raises(ConfigurationError) as said:
            connect(chosen)
        assert "w0rd" not in str(said.value)

    def test_the_embedded_database_is_for_its_account_alone(self, tmp_path):
        tmp_path.chmod(0o755)
        prepare_home(self.load(BLANKFORMS_HOME=str(tmp_path)))
        assert (tmp_path / "blankforms.db").stat().st_mode & 0o077 == 0

    def test_a_folder_of_the_socket_that_others_may_write_is_refused(self, tmp_path, monkeypatch):
        chosen = self.load(BLANKFORMS_HOME=str(tmp_path / ("deep" * 30)))
        folder = tmp_path / "shared"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        object.__setattr__(chosen, "broker_socket", folder / "broker.sock")
        with pytest.raises(ConfigurationError, match="others may write"):
            prepare_home(chosen)

    def test_secrets_come_from_files_and_are_never_shown(self, tmp_path):
        path = tmp_path / "secret"
        path.write_text("s3cret-token\n")
        chosen = self.load(CUSTOMS_TOKEN_FILE=str(path), DATABASE_URL="postgres://u:pw@h/d")
        assert chosen.gateway_token == "s3cret-token"
        assert chosen.sqlalchemy_url == "postgresql+psycopg://u:pw@h/d"
        shown = repr(chosen) + str(chosen.shown())
        assert "s3cret" not in shown
        assert "pw@" not in shown

    def test_a_deep_home_does_not_break_the_brokers_socket(self, tmp_path):
        chosen = self.load(BLANKFORMS_HOME=str(tmp_path / ("deep" * 30)))
        assert len(str(chosen.broker_socket)) <= 100
