"""A coordinator that cannot be reached is named with its cause and a fix, in one line."""

from __future__ import annotations

import re
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.authorities import Authority
from testkit.proxies import ConnectProxy, answering, tcp_server, tls_server
from vdb_participant.network.connection import FIRST_CALL_SECONDS
from vdb_participant.network.diagnosis import DIAGNOSIS_SECONDS, Target, check_own_certificate, split_address
from vdb_participant.network.diagnosis import diagnose as diagnose_target
from vdb_participant.network.proxy import Proxy, parse_proxy, proxy_for
from vdb_shared.errors import IdentityError, UsageError

NOW = datetime.now(UTC)


def diagnose(address: str, ca_certificate: bytes, detail: str, proxy: Proxy | None = None) -> str:
    """Return the line for an address."""
    return diagnose_target(Target(*split_address(address), ca_certificate, lambda: None, proxy), detail)


AUTHORITY = Authority()


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    line = diagnose(address, AUTHORITY.pem, "")
    assert line == (
        f"cannot reach the coordinator at {address}: nothing listens there; "
        "ask the lead whether `vdb-coordinator serve` is running, and whether the port is right"
    )


def test_a_name_that_does_not_exist() -> None:
    assert "the name coordinator.invalid is not known here" in diagnose("coordinator.invalid:7443", AUTHORITY.pem, "")


def test_a_server_that_speaks_something_else() -> None:
    with tcp_server(answering(b"SSH-2.0-x\r\n")) as address:
        assert "does not speak our TLS" in diagnose(address, AUTHORITY.pem, "")


def test_a_connection_that_is_cut() -> None:
    with tcp_server(lambda connection: connection.close()) as address:
        line = diagnose(address, AUTHORITY.pem, "")
    assert "TLS" in line
    assert address in line


@pytest.mark.parametrize(
    ("begins", "ends", "server", "words"),
    [
        (-10, -5, "127.0.0.1", f"its certificate has expired (our clock: {NOW:%Y-%m-%d}"),
        (5, 10, "127.0.0.1", f"its certificate is not valid yet (our clock: {NOW:%Y-%m-%d}"),
        (-1, 1, "127.0.0.2", "the server there has no certificate for 127.0.0.1"),
        (-1, 1, "127.0.0.1", "it listens, but does not serve us (all is busy)"),
    ],
)
def test_what_its_certificate_says(tmp_path: Path, begins: int, ends: int, server: str, words: str) -> None:
    certificate = AUTHORITY.issue(NOW + timedelta(hours=begins), NOW + timedelta(hours=ends), server)
    with tls_server(tmp_path, *certificate) as address:
        assert words in diagnose(address, AUTHORITY.pem, "all is busy")


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (
            23,
            24 * 30,
            r"is not valid yet \(our clock: [^;]*; it begins {0}\); set the clock, or if it is right tell the lead",
        ),
        (
            -24 * 30,
            -23,
            r"has expired \(our clock: [^;]*; it ended {1}\); set the clock, or if it is right tell the lead to",
        ),
    ],
)
def test_a_clock_that_is_off_by_a_day(tmp_path: Path, begins: int, ends: int, words: str) -> None:
    """A clock that is a day behind or ahead sees the server's certificate a day early or late."""
    valid = NOW + timedelta(hours=begins), NOW + timedelta(hours=ends)
    with tls_server(tmp_path, *AUTHORITY.issue(*valid)) as address:
        line = diagnose(address, AUTHORITY.pem, "")
    assert re.search(words.format(*(f"{moment:%Y-%m-%d %H:%M UTC}" for moment in valid)), line)


def test_another_consortiums_coordinator(tmp_path: Path) -> None:
    """The wrong root: whoever answers is a coordinator, under another authority."""
    certificate = Authority().issue(
        NOW - timedelta(hours=1), NOW + timedelta(hours=1), uri="spiffe://others/coordinator/1"
    )
    with tls_server(tmp_path, *certificate) as address:
        line = diagnose(address, AUTHORITY.pem, "")
    assert "a coordinator of consortium others answers, under another root than the one we were invited to" in line
    assert "ask the lead for a new invitation" in line


def test_a_proxy_that_looks_into_tls(tmp_path: Path) -> None:
    certificate = Authority("Corporate Inspection CA").issue(NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    with tls_server(tmp_path, *certificate) as address:
        line = diagnose(address, AUTHORITY.pem, "")
    assert "its certificate was signed by 'Corporate Inspection CA', not by our consortium: a proxy that looks" in line
    assert f"exempt {address})" in line


def test_a_server_that_never_speaks() -> None:
    release = threading.Event()

    def silent(connection: socket.socket) -> None:
        release.wait(30)
        connection.shutdown(socket.SHUT_RDWR)

    with tcp_server(silent) as address:
        line = diagnose(address, AUTHORITY.pem, "")
        release.set()
    assert "accepts connections but does not answer" in line


def test_a_name_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    answer = socket.getaddrinfo("127.0.0.1", 9, type=socket.SOCK_STREAM)

    def silent(*_: object, **__: object) -> list[object]:
        release.wait(30)
        return [*answer]

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    line = diagnose("coordinator.example:7443", AUTHORITY.pem, "")
    release.set()
    assert "the name coordinator.example could not be looked up: DNS does not answer" in line


def test_all_causes_are_told_within_ten_seconds() -> None:
    assert FIRST_CALL_SECONDS + DIAGNOSIS_SECONDS < 10


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 403 Forbidden",
            "does not allow it (403 Forbidden); ask whoever runs the proxy to allow CONNECT to vdb.test:7443",
        ),
        (
            b"HTTP/1.1 407 Proxy Authentication Required",
            "wants a login (407 Proxy Authentication Required); put it in HTTPS_PROXY",
        ),
        (
            b"HTTP/1.1 502 Bad Gateway",
            "cannot reach it (502 Bad Gateway); check the address with the lead, or add vdb.test to",
        ),
        (b"SSH-2.0-x", "is no HTTP proxy; check HTTPS_PROXY"),
    ],
)
def test_what_a_proxy_says(answer: bytes, words: str) -> None:
    with tcp_server(answering(answer + b"\r\n\r\n")) as address:
        line = diagnose("vdb.test:7443", AUTHORITY.pem, "", parse_proxy(f"http://{address}"))
    assert line.startswith(f"cannot reach the coordinator at vdb.test:7443 through the proxy {address}: ")
    assert words in line


def test_a_proxy_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    line = diagnose("vdb.test:7443", AUTHORITY.pem, "", parse_proxy(f"http://{address}"))
    assert "the proxy itself: nothing listens there" in line
    assert "check HTTPS_PROXY" in line


def test_certificates_are_looked_at_behind_a_proxy_too(tmp_path: Path) -> None:
    certificate = Authority("Corporate Inspection CA").issue(NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    with tls_server(tmp_path, *certificate) as address, ConnectProxy({"vdb.test:7443": address}) as proxy:
        line = diagnose("vdb.test:7443", AUTHORITY.pem, "", parse_proxy(f"http://anna:secret@{proxy.address}"))
    assert "signed by 'Corporate Inspection CA'" in line
    assert "secret" not in line
    assert proxy.asked == ["vdb.test:7443"] * 2
    assert proxy.logins == ["Basic YW5uYTpzZWNyZXQ="] * 2


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("other.org", False),
        ("example.org", True),
        (".example.org", True),
        ("*.example.org", True),
        ("ample.org", False),
        ("example.org:7443", True),
        ("example.org:80", False),
        ("a.b, vdb.EXAMPLE.org ", True),
        ("*", True),
    ],
)
def test_no_proxy(no_proxy: str, direct: bool) -> None:
    environment = {"HTTPS_PROXY": "http://proxy:8080", "NO_PROXY": no_proxy}
    found = proxy_for("vdb.example.org", 7443, environment)
    assert (found is None) == direct


def test_addresses_and_networks_in_no_proxy() -> None:
    def found(host: str, no_proxy: str) -> Proxy | None:
        return proxy_for(host, 7443, {"https_proxy": "proxy", "no_proxy": no_proxy})

    assert found("10.1.2.3", "10.0.0.0/8") is None
    assert found("10.1.2.3", "10.1.2.3") is None
    assert found("192.168.0.1", "10.0.0.0/8") is not None
    assert found("fd00::1", "fd00::/8") is None
    assert found("fd00::1", "[fd00::1]:7443") is None
    assert found("fd00::1", "10.0.0.0/8") is not None
    for this_machine in ("127.0.0.1", "::1", "localhost"):
        assert found(this_machine, "") is None, "the demo must not go through a proxy"


def test_how_a_proxy_is_written() -> None:
    assert parse_proxy("proxy.example:8080").url == "http://proxy.example:8080"
    assert parse_proxy("http://proxy.example").address == "proxy.example:3128"
    assert parse_proxy("http://[fd00::1]:8080").address == "[fd00::1]:8080"
    found = parse_proxy("http://anna:p%40ss@proxy.example:8080")
    assert (found.host, found.port, found.url) == ("proxy.example", 8080, "http://anna:p%40ss@proxy.example:8080")
    assert "ss@" not in repr(found)
    for wrong in ("https://proxy.example:8080", "socks5://anna:secret@proxy", "http://", "http://proxy:port"):
        with pytest.raises(UsageError, match=r"^HTTPS_PROXY: expected http://host:port") as caught:
            parse_proxy(wrong)
        assert "secret" not in str(caught.value)


def test_our_own_certificate_is_looked_at_first() -> None:
    certificate, _ = AUTHORITY.issue(NOW - timedelta(hours=2), NOW + timedelta(hours=2))
    check_own_certificate(certificate, NOW)
    with pytest.raises(IdentityError, match=r"our TLS certificate expired on .* ask the lead for a new invitation"):
        check_own_certificate(certificate, NOW + timedelta(days=400))
    with pytest.raises(IdentityError, match=r"this machine's clock says .*; set the clock"):
        check_own_certificate(certificate, NOW - timedelta(days=400))


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":7443", "host:seven", "host:0", "host:70000"])
def test_addresses_without_host_or_port_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not an address host:port"):
        split_address(address)


def test_addresses_are_split() -> None:
    assert split_address("vdb.example.org:7443") == ("vdb.example.org", 7443)
    assert split_address("[::1]:7443") == ("::1", 7443)
