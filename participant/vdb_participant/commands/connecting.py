"""`doctor` on the way to the coordinator: our certificate, the port, TLS, its answer, and the two clocks, one after the other.

Promises that a closed port, a proxy that looks into TLS and a coordinator that refuses us are told apart. Leaves the words to
`network/diagnosis.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from vdb_participant.commands.findings import Finding, Status, first_line, tried
from vdb_participant.commands.machine import EXTRA
from vdb_participant.network.diagnosis import check_own_certificate
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_participant.site.keys import Passphrase, certificate_validity
from vdb_participant.site.policy import policy_in
from vdb_participant.site.renewal import renewal_time
from vdb_participant.site.tls_files import read_certificate, read_pair
from vdb_shared.errors import IdentityError, VdbError
from vdb_shared.wire.versions import CERTIFICATE_RENEWAL, CURRENT
from vdb_shared.wording import counted

if TYPE_CHECKING:
    from vdb_participant.network.client import Client
    from vdb_participant.network.connection import Connection

RENEW_BEFORE: Final = timedelta(days=7)
_AT_RELAY: Final = "certificate at the relay"
SMALL_SKEW: Final = timedelta(minutes=1)
LARGE_SKEW: Final = timedelta(minutes=5)
"""Certificates begin an hour early (§11.1), so that nothing fails yet at either; by five minutes no clock drifts unnoticed."""


def examine_connection(folder: StateFolder, passphrase: Passphrase) -> Iterator[Finding]:
    """Yield what is found on the way, as far as it goes."""
    if folder.relay_key.exists():
        words = "this site is not connected; its requests go through a relay as files, with --offline DIR"
        yield Finding(Status.PASS, "coordinator", words)
        yield tried(_AT_RELAY, lambda: _certificate_at_relay(folder))
        return
    yield tried("certificate and clock", lambda: _certificate(folder))
    try:
        from vdb_participant.network.client import Client  # noqa: PLC0415 - gRPC may be what is missing
        from vdb_participant.network.connection import Connection  # noqa: PLC0415 - likewise
    except (ImportError, RuntimeError) as error:
        yield Finding(Status.FAIL, "coordinator", f"cannot be asked without gRPC ({first_line(error)}); {EXTRA}")
        return
    try:
        policy_in(folder)
    except VdbError:  # told as a finding of its own
        words = "was not asked: policy.toml, which says where we may connect to, cannot be read; mend it first"
        yield Finding(Status.WARN, "coordinator", words)
        return
    try:
        site = open_site(folder, passphrase)
        connection = Connection(site.config.address, site.tls, site.egress)
        reached = connection.probe()
    except VdbError as error:
        yield Finding(Status.FAIL, "keys" if isinstance(error, IdentityError) else "coordinator", str(error))
        return

    def there(trouble: str) -> str:
        return trouble and f"{site.config.address}: {trouble}"

    way = f"{site.config.address} is open{f', through the proxy {reached.proxy}' if reached.proxy else ''}"
    yield Finding(Status.FAIL if reached.port else Status.PASS, "port", there(reached.port) or way)
    if reached.port:
        return
    yield Finding(
        Status.FAIL if reached.tls else Status.PASS, "TLS", there(reached.tls) or "our consortium's own, end to end"
    )
    if reached.tls:
        return
    with Client(connection) as client:
        yield from _asked(client, connection)


def judge_clock(clocks: tuple[datetime, datetime] | None) -> Finding:
    """Return what is to be said of the coordinator's clock and ours, both UTC; None where it does not tell its own."""
    if clocks is None:
        return Finding(Status.WARN, "clock", "this coordinator does not tell its time, so the clocks were not compared")
    theirs, ours = clocks
    off = abs(ours - theirs)
    words = f"ours is {_duration(off)} {'ahead of' if ours > theirs else 'behind'} the coordinator's"
    if off <= SMALL_SKEW:
        return Finding(Status.PASS, "clock", words)
    status = Status.FAIL if off > LARGE_SKEW else Status.WARN
    return Finding(
        status, "clock", f"{words} ({theirs:%Y-%m-%d %H:%M} UTC); synchronise this machine's, or tell the lead"
    )


def clock_note(clocks: tuple[datetime, datetime] | None) -> str:
    """Return what the reader of a plan should know of our clock, or "": its deadlines are by the coordinator's."""
    found = judge_clock(clocks)
    if clocks is None or found.status is Status.PASS:
        return ""
    return f"note: the deadlines above are by the coordinator's clock, and {found.words}"


def _certificate(folder: StateFolder) -> Finding:
    (_, chain), now = read_pair(folder), datetime.now(UTC)
    check_own_certificate(chain, now)
    begins, ends = certificate_validity(chain)
    words = f"valid until {ends:%Y-%m-%d %H:%M} UTC (clock: {now:%Y-%m-%d %H:%M} UTC)"
    if ends - now < RENEW_BEFORE:
        return Finding(
            Status.WARN, "certificate and clock", f"{words}; run `vdb-participant certificate renew` before it ends"
        )
    if now >= renewal_time(begins, ends):
        return Finding(Status.PASS, "certificate and clock", f"{words}; the next session renews it")
    return Finding(Status.PASS, "certificate and clock", words)


def _certificate_at_relay(folder: StateFolder) -> Finding:
    """What is to be said of the newest certificate that the relay has shown here."""
    chain, now = read_certificate(folder), datetime.now(UTC)
    begins, ends = certificate_validity(chain)
    words = f"valid until {ends:%Y-%m-%d %H:%M} UTC as far as it was shown here (clock: {now:%Y-%m-%d %H:%M} UTC)"
    if now >= ends:
        hint = "unless the relay has renewed it since, ask the lead for a new invitation"
        return Finding(Status.FAIL, _AT_RELAY, f"{words}; {hint}")
    if ends - now < RENEW_BEFORE:
        hint = "run `vdb-participant certificate renew --offline DIR` before it ends"
        return Finding(Status.WARN, _AT_RELAY, f"{words}; {hint}")
    if now >= renewal_time(begins, ends):
        return Finding(Status.PASS, _AT_RELAY, f"{words}; the files of the next session renew it")
    return Finding(Status.PASS, _AT_RELAY, words)


def _asked(client: Client, connection: Connection) -> Iterator[Finding]:
    """Yield what the coordinator answers; nobody whom it takes for no member is told more, so that this is one finding."""
    try:
        answers = f"{connection.address} answers; {counted(len(client.sessions()), 'session')}"
        yield Finding(Status.PASS, "coordinator", answers)
    except VdbError as error:
        yield Finding(Status.FAIL, "coordinator", str(error))
        if isinstance(error, IdentityError):
            return
    yield tried("protocol", lambda: _protocol(connection))
    yield tried("clock", lambda: judge_clock(client.clocks()))


def _protocol(connection: Connection) -> Finding:
    found = connection.agreement()
    words = f"version {found.version} is spoken by both (ours {CURRENT}; {found.program or 'a coordinator that does not say'})"
    if CERTIFICATE_RENEWAL not in found.capabilities:
        return Finding(Status.WARN, "protocol", f"{words}; it renews no certificates, so ask the lead to update it")
    return Finding(Status.PASS, "protocol", words)


def _duration(time: timedelta) -> str:
    seconds = time.total_seconds()
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
