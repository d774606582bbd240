"""Hostile URLs against a canary on loopback: none of them reaches it, whatever the spelling."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from models.rules.errors import BadArgument
from net.addresses import is_allowed, is_within, read_networks
from net.notifier import Letter, NotTold, Told
from net.notifier_http import HttpNotifier
from tasks.notify.endpoints import _check_url
from tests.conftest import ROOT

SECRET = "whsec_" + "A" * 44
PUBLIC = "93.184.216.34"

NUMERIC = (
    "127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "127.255.255.254", "0.0.0.0", "0", "0x7f000001",
    "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "0177.0.0.01", "00000177.0.0.1", "017700000001",
    "2130706433", "2130706434", "0x7F000001", "127.0x0.0.1", "127.0.0x0.1", "0300.0250.0.1",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[64:ff9b:1:a00:0:100:808:808]", "[2002:7f00:1::]", "[2002:7f00:0001::1]",
    "[2001:0:53aa:64c:0:0:80ff:fffe]", "[fe80::1]", "[fc00::1]", "[fd00::1]", "[fec0::1]",
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255",
    "169.254.169.254", "169.254.170.2", "0xa9fea9fe", "2852039166", "100.64.0.1", "100.100.100.200",
    "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1",
    "192.0.2.1", "[ff02::1]",
)  # fmt: skip
NAMES = ("localhost", "canary.test", "rebind.test", "mixed.test", "metadata.test", "v6.test")


class Resolver(AbstractResolver):
    """Names as a hostile DNS would answer them; numbers as the system reads them."""

    def __init__(self):
        self.asked = Counter()

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked[host] += 1
        answers = {
            "localhost": ["127.0.0.1"],
            "canary.test": ["127.0.0.1"],
            # public when it is asked for the first time, loopback ever after
            "rebind.test": [PUBLIC] if self.asked[host] == 1 else ["127.0.0.1"],
            "mixed.test": ["127.0.0.1", "::1"],
            "metadata.test": ["169.254.169.254"],
            "v6.test": ["::ffff:127.0.0.1"],
        }.get(host)
        if answers is None:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers = [info[4][0] for info in infos]
        return [
            {
                "hostname": host,
                "host": a,
                "port": port,
                "family": socket.AF_INET6 if ":" in a else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for a in answers
        ]

    async def close(self):
        pass


@pytest.fixture
def canary():
    """Listens on every address of this machine; counts who comes."""
    hits = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            hits.append(self.headers.get("host"))
            self.send_response(204)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    class DualStack(ThreadingHTTPServer):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    server = DualStack(("::", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_port, hits
    server.shutdown()
    thread.join()
    server.server_close()


def tell(notifier, urls):
    for url in urls:
        notifier.start(url, Letter(url, "evt_1", 1, b"{}", [SECRET]))
    ended = {}
    while len(ended) < len(urls):
        ended |= dict(notifier.completed(len(urls), 5.0))
    return ended


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_hostile_url_reaches_the_canary(canary, scheme):
    port, hits = canary
    hosts = [h for h in (*NUMERIC, *NAMES) if h != "rebind.test"]
    urls = [f"{scheme}://{h}:{port}/x" for h in hosts]
    urls += [f"{scheme}://user:pass@127.0.0.1:{port}/", f"{scheme}://{PUBLIC}@127.0.0.1:{port}/",
             f"{scheme}://localhost:{port}\\@example.com/", f"{scheme.upper()}://LOCALHOST:{port}/"]  # fmt: skip
    assert len(urls) >= 60
    notifier = HttpNotifier([], timeout_seconds=2, resolver=Resolver())
    ended = tell(notifier, urls)
    notifier.close()
    assert hits == []
    assert {type(e) for e in ended.values()} == {NotTold}
    forbidden = [u for u, e in ended.items() if "not allowed" in e.detail]
    assert len(forbidden) > 50  # the others are no addresses at all


def test_a_name_that_changes_its_answer_does_not_get_through(canary):
    port, hits = canary
    resolver = Resolver()
    resolver.asked["rebind.test"] = 1  # whoever checked before saw the public address
    notifier = HttpNotifier([], timeout_seconds=2, resolver=resolver)
    url = f"http://rebind.test:{port}/"
    for _ in range(3):
        assert "not allowed" in tell(notifier, [url])[url].detail
    notifier.close()
    assert hits == []


def test_a_redirect_to_loopback_is_not_followed(canary):
    port, hits = canary

    class Redirecting(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{port}/")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    notifier = HttpNotifier(read_networks("127.0.0.1"), timeout_seconds=2)
    url = f"http://127.0.0.1:{server.server_port}/"
    assert tell(notifier, [url])[url].status == 302
    notifier.close()
    server.shutdown()
    server.server_close()
    assert hits == []


def test_an_allowed_network_is_reached_and_only_it(canary):
    port, hits = canary
    notifier = HttpNotifier(read_networks("127.0.0.1/32"), timeout_seconds=2)
    here, there = f"http://127.0.0.1:{port}/", f"http://127.0.0.2:{port}/"
    ended = tell(notifier, [here, there])
    notifier.close()
    assert isinstance(ended[here], Told)
    assert "not allowed" in ended[there].detail
    assert len(hits) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1", "64:ff9b:1:a00:0:100:808:808", "2002:7f00:1::", "2001:0:53aa:64c:0:0:80ff:fffe", "fe80::1%eth0",
        "fc00::1", "fec0::1", "10.0.0.1", "169.254.169.254", "192.0.0.192", "192.88.99.1",
        "100.64.0.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1",
        "192.0.2.1", "ff0e::1", "5f00::1", "3fff::1", "not an address", "",
    ],
)  # fmt: skip
def test_no_address_inside_is_allowed(address):
    assert not is_allowed(address, [])


@pytest.mark.parametrize(
    "address",
    ["::ffff:10.1.2.3", "::10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::",
     "2001:0:53aa:64c:0:0:f5fe:fdfc"],
)  # fmt: skip
def test_an_ipv4_address_inside_an_ipv6_one_counts_as_itself(address):
    assert is_within(address, read_networks("10.1.2.3/32"))
    assert not is_within(address, read_networks("10.1.2.4/32"))


def test_plain_http_goes_to_the_allowed_networks_alone():
    notifier = HttpNotifier(read_networks("10.0.0.0/8"))
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 80))
    with pytest.raises(PermissionError):
        notifier._private(public)
    notifier._public(public).close()
    notifier.close()


def test_no_proxy_of_the_environment_is_used(canary, monkeypatch):
    port, hits = canary
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    notifier = HttpNotifier(read_networks("127.0.0.0/8"), timeout_seconds=2)
    url = "http://127.0.0.1:9/"
    assert isinstance(tell(notifier, [url])[url], NotTold)
    notifier.close()
    assert hits == []


def certificate_of(pem: Path, host: str, days: int) -> None:
    """A certificate of its own making, and its key: valid since the day before yesterday, for so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    begins = datetime.now(UTC) - timedelta(2)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )


@contextmanager
def speaking_tls(pem: Path):
    """A server with this certificate: its port, and what came through to it."""
    hits = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            hits.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_):
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port, hits
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


TELLING = """
import sys
from customs.gateway import SignedMessage
from customs.http import HttpGateway
from customs.profile.bcm1 import Bcm1
from net.addresses import read_networks
from net.clock import elapsed
from net.notifier_http import HttpNotifier
from tests.net.test_addresses import tell
url = f"https://localhost:{sys.argv[1]}"
notifier = HttpNotifier(read_networks("127.0.0.0/8"), timeout_seconds=5)
print(type(tell(notifier, [url])[url]).__name__)
notifier.close()
gateway = HttpGateway(Bcm1(), url, "token", 2, 5)
gateway.start_send("one", SignedMessage("BC7F3A9C2E", b"ours", "0" * 64), elapsed() + 60)
((_, outcome),) = gateway.completed(1)
gateway.close()
print(type(outcome).__name__)
"""


@pytest.mark.parametrize(
    ("host", "days", "vouched", "heard"),
    [
        pytest.param("localhost", 30, True, True, id="the right one"),
        pytest.param("localhost", 30, False, False, id="nobody vouches for it"),
        pytest.param("example.com", 30, True, False, id="another's name"),
        pytest.param("localhost", 1, True, False, id="expired"),
    ],
)
def test_an_impostor_hears_neither_notifications_nor_messages_nor_the_token(
    tmp_path, host, days, vouched, heard
):
    pem = tmp_path / "server.pem"
    certificate_of(pem, host, days)
    environ = {**os.environ, **({"SSL_CERT_FILE": str(pem)} if vouched else {})}
    with speaking_tls(pem) as (port, hits):
        command = [sys.executable, "-W", "ignore", "-c", TELLING, str(port)]
        ended = subprocess.run(
            command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60
        )
    assert ended.stdout.split() == (["Told", "InDoubt"] if heard else ["NotTold", "NotTaken"]), (
        ended.stderr
    )
    assert bool(hits) == heard


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"]
)
def test_public_addresses_are_allowed(address):
    assert is_allowed(address, [])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "https://",
        "https://user:pass@example.com/", "https://user@example.com/", "http://example.com/",
        "https://exa mple.com/", "https://example.com:99999/", "https://example.com:0/",
        "https://example.com/\r\nX: y", "https://[::1/", "//example.com/", "example.com",
        "https://example.com/" + "x" * 2000,
    ],
)  # fmt: skip
def test_an_odd_url_is_refused_when_it_is_added(url):
    with pytest.raises(BadArgument):
        _check_url(url, "")
