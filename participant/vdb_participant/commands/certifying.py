"""`certificate` as the operator sees it: dates, and a renewal by hand, on a connection or by files."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import cache
from typing import Final

from vdb_participant.commands.reaching import Offline, awaiting, calls_of
from vdb_participant.commands.screen import console
from vdb_participant.network.absence import unsaid
from vdb_participant.network.connection import Connection
from vdb_participant.offline.channel import Carriage
from vdb_participant.offline.renewing import QUESTION, Wish, read_signed
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.failpoints import failpoints_from_environment
from vdb_participant.site.institution import check_connected, open_site
from vdb_participant.site.keys import Passphrase, certificate_digest, certificate_uri, certificate_validity
from vdb_participant.site.renewal import Keeper, renewal_time
from vdb_participant.site.tls_files import read_certificate, read_pair
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import UsageError

_BY_FILES: Final = (
    "run `vdb-participant certificate renew --offline DIR` with the folder that is carried, see docs/offline.md"
)


def show(folder: StateFolder, *, as_json: bool) -> None:
    """Print whose certificate it is, and its dates; at a site without a network, of the newest that its relay has shown.

    Raises:
        IdentityError: not enrolled.
        StoreError: it cannot be read.
    """
    chain, note = _known(folder)
    begins, ends = certificate_validity(chain)
    moments = {"begins": begins, "renewed_from": renewal_time(begins, ends), "ends": ends}
    facts = {name: moment.strftime("%Y-%m-%dT%H:%M:%SZ") for name, moment in moments.items()}
    facts |= {"name": certificate_uri(chain), "digest": f"sha256:{certificate_digest(chain).hex()}"}
    if as_json:
        sys.stdout.write(canonical_json(facts).decode() + "\n")
        return
    out = console()
    out.print(f"{facts['name']}  {facts['digest']}")
    out.print(f"valid from {facts['begins']} to {facts['ends']}, renewed from {facts['renewed_from']} on")
    if note:
        out.print(note)


def _known(folder: StateFolder) -> tuple[bytes, str]:
    """Return the certificate chain of a folder, and what else is to be said of it."""
    if _is_relay(folder):
        return read_pair(folder)[
            1
        ], "this is the relay; the site signs for the next one, with the files that are carried"
    read_config(folder)
    if not folder.relay_key.exists():
        return read_pair(folder)[1], ""
    signed = read_signed(folder)
    awaited = signed is not None and signed.awaited
    state = "; a renewal is signed and goes with the next request, its answer is awaited" if awaited else ""
    return read_certificate(folder), f"it lies at the relay, which showed it last{state}"


def renew(folder: StateFolder, passphrase: Passphrase, *, if_due: bool) -> None:
    """Renew the certificate, unless it need not be yet.

    Raises:
        VdbError: it was not renewed; the present one is kept.
    """
    _check_no_relay(folder)
    check_connected(folder, _BY_FILES)
    asked_once = cache(passphrase)
    site = open_site(folder, asked_once)
    keeper = Keeper.of(site, asked_once, failpoints_from_environment())
    if if_due and not keeper.due(site.tls):
        console().print(f"not due before {renewal_time(*site.tls.validity):%Y-%m-%d %H:%M} UTC")
        return
    connection = Connection(site.config.address, site.tls, site.egress, renewal=keeper)
    try:
        connection.renew()
    finally:
        connection.close()
    console().print(f"renewed; valid until {connection.tls.validity[1]:%Y-%m-%d %H:%M} UTC")


def renew_by_files(
    folder: StateFolder, passphrase: Passphrase, offline: Offline, *, if_due: bool, another_key: bool
) -> None:
    """Renew the certificate that the relay holds, by files; ends with what is to be carried until it is renewed.

    Raises:
        AwaitedAnswerError: says what is to be carried.
        VdbError: it was not renewed; the present one is kept.
    """
    _check_no_relay(folder)
    calls = calls_of(open_site(folder, passphrase), offline, unsaid)
    if not isinstance(calls, Carriage) or calls.renewals is None:
        raise RuntimeError("a site without a network signs for its relay's certificate")
    renewals = calls.renewals
    waiting = renewals.waiting()
    due = renewal_time(*certificate_validity(read_certificate(folder)))
    if if_due and waiting is None and datetime.now(UTC) < due:
        console().print(f"not due before {due:%Y-%m-%d %H:%M} UTC")
        return
    with awaiting():
        wish = Wish(early=not if_due, another=another_key)
        signed = waiting or renewals.sign(calls.channel.renewal(QUESTION), wish)
        ends = renewals.settle(calls.channel.renewal(signed))
    if ends is None:
        raise UsageError("another vdb-participant renews the certificate; run again")
    console().print(f"renewed; valid until {ends:%Y-%m-%d %H:%M} UTC")


def _is_relay(folder: StateFolder) -> bool:
    return (folder.path / "relay.json").exists()


def _check_no_relay(folder: StateFolder) -> None:
    if _is_relay(folder):
        raise UsageError(
            f"{folder.path}: this is a relay, whose certificate the site's key renews; at the site {_BY_FILES}"
        )
