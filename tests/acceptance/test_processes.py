"""The main job by real processes: killed in the middle, and at scale on the real parts."""

from __future__ import annotations

import pytest
from redis import Redis

from config.settings import load_settings
from models.tables.database import Database
from tests.support.factories import SENDER
from tests.support.sheets import bring_in, ledger, write_sheets
from tests.support.system import broker, flush, referee, system
from tests.support.tokens import LABEL, MODULE, PIN, make_token

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.timeout(180)
def test_worker_submitter_and_sender_killed_and_the_broker_flushed_in_the_middle(short_tmp):
    home = short_tmp / "kill"
    home.mkdir()
    write_sheets(home, 500)
    with system(home, SEND_CONCURRENCY="2") as running:
        settings = load_settings({"BLANKFORMS_HOME": str(home)})
        with broker(home / "broker", port=0, unix_socket_path=settings.broker_socket) as server:
            running.start_simulator()
            running.start("worker", "submitter", "sender", "scheduler", "web")
            bring_in(running, home)
            batch = running.json("submit", str(home / "orders.csv"), "--yes")
            for at in (60, 250):
                taken = "SELECT COUNT(*) FROM message"
                running.wait(lambda: ledger(home, taken)[0][0] >= at, f"{at} taken")  # noqa: B023
                running.kill("worker", "submitter", "sender")
                flush(Redis(unix_socket_path=str(server.unix_socket_path)))
                running.start("worker", "submitter", "sender")
            shown = running.json("batch", "show", str(batch["id"]), "--watch")
        assert shown["state"] == "finished"
        assert shown["counts"]["forms"]["verified"] == 450
        assert shown["counts"]["forms"]["voided"] == 50
        effects = ledger(home, "SELECT serial, COUNT(*) FROM decision WHERE effect = 1 GROUP BY 1")
        assert len(effects) == 500
        assert {count for _, count in effects} == {1}
        database = Database(settings.sqlalchemy_url)
        referee(database, home / "simulator" / "ledger.db")
        database.close()


@pytest.mark.timeout(180)
def test_postgresql_a_redis_server_softhsm_and_two_workers(short_tmp, postgres_url):
    home, customs_home = short_tmp / "scale", short_tmp / "customs"
    home.mkdir()
    write_sheets(home, 120)
    config = make_token(short_tmp / "hsm")
    pin_file, token_file = home / "pin", home / "token"
    pin_file.write_text(PIN)
    token_file.write_text("a-token-of-the-enterprise")
    with broker(home / "broker") as server, system(customs_home) as customs:
        customs.environment |= {
            "CUSTOMS_TOKEN_FILE": str(token_file),
            "ENTERPRISE_CODE": SENDER,
            "CUSTOMS_URL": "http://unused.invalid",
            "CALLBACK_SECRETS": SECRET,
        }
        with system(
            home,
            DATABASE_URL=postgres_url,
            BROKER_URL=f"redis://127.0.0.1:{server.port}/0",
            CUSTOMS_URL=f"http://127.0.0.1:{customs.simulator_port}",
            CUSTOMS_TOKEN_FILE=str(token_file),
            CALLBACK_SECRETS=SECRET,
            ENTERPRISE_CODE=SENDER,
            PKCS11_MODULE=str(MODULE),
            PKCS11_TOKEN_LABEL=LABEL,
            PKCS11_KEY_LABEL="sign",
            PKCS11_PIN_FILE=str(pin_file),
            SOFTHSM2_CONF=str(config),
        ) as running:
            customs.environment["PORT"] = str(running.port)
            customs.start_simulator(
                *("--stock", str(home / "stock.csv")),
                *("--certificates", str(home / "certificates.csv")),
                *("--trust", str(short_tmp / "hsm" / "certificate.pem")),
            )
            running.run("db", "upgrade")
            running.start("worker1", "worker2", "submitter", "sender", "scheduler", "web")
            running.run("stock", "sync", "--holder", SENDER)
            running.run("certificates", "sync", "--holder", SENDER)
            shown = running.json("submit", str(home / "orders.csv"), "--yes", "--wait")
            assert shown["state"] == "finished"
            assert shown["counts"]["forms"]["verified"] == 108
            assert shown["counts"]["forms"]["voided"] == 12
            checks = {
                c["check"]: c["result"]
                for c in running.json("doctor", "--deep", "--wait", "60")["checks"]
            }
            assert checks["card customs"] == "ok"
            assert checks["invariants"] == "ok"
            assert not (home / "card" / "test-key.pem").exists()
            everything = (home / "processes.log").read_text()
            assert PIN not in everything
            assert "a-token-of-the-enterprise" not in everything
        database = Database("postgresql+psycopg://" + postgres_url.removeprefix("postgresql://"))
        referee(database, customs_home / "simulator" / "ledger.db")
        database.close()


@pytest.mark.timeout(180)
def test_a_wrong_pin_stops_the_signing_and_the_person_is_told(short_tmp):
    home = short_tmp / "pin"
    home.mkdir()
    write_sheets(home, 5)
    config = make_token(short_tmp / "hsm2")
    (home / "pin.txt").write_text("999999")
    with system(
        home,
        PKCS11_MODULE=str(MODULE),
        PKCS11_TOKEN_LABEL=LABEL,
        PKCS11_KEY_LABEL="sign",
        PKCS11_PIN_FILE=str(home / "pin.txt"),
        SOFTHSM2_CONF=str(config),
    ) as running:
        settings = load_settings({"BLANKFORMS_HOME": str(home)})
        with broker(home / "broker", port=0, unix_socket_path=settings.broker_socket):
            running.start_simulator("--trust", str(short_tmp / "hsm2" / "certificate.pem"))
            running.start("worker", "submitter", "sender", "scheduler")
            bring_in(running, home)
            running.run("submit", str(home / "orders.csv"), "--yes", "--wait", expect=77)
            assert "口令" in running.stderr
            running.run("doctor", expect=77)
            (home / "pin.txt").write_text(PIN)
            running.wait(
                lambda: running.json("batch", "show", "1")["state"] == "finished", "finished"
            )
