"""`certificate` as the operator sees it: dates, and a renewal by hand."""

from __future__ import annotations

import sys
from functools import cache
from typing import Final

from vdb_participant.commands.screen import console
from vdb_participant.network.connection import Connection
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.failpoints import failpoints_from_environment
from vdb_participant.site.institution import check_connected, open_site
from vdb_participant.site.keys import Passphrase, certificate_digest, certificate_uri, certificate_validity
from vdb_participant.site.renewal import Keeper, renewal_time
from vdb_participant.site.tls_files import read_pair
from vdb_shared.canonical import canonical_json

_ELSEWHERE: Final = (
    "the certificate lies there (certificate.pem); for a new one the lead sends a new invitation, see docs/offline.md"
)


def show(folder: StateFolder, *, as_json: bool) -> None:
    """Print whose certificate it is, and its dates.

    Raises:
        IdentityError: not enrolled.
        UsageError: this site has no network, and its relay the certificate.
        StoreError: it cannot be read.
    """
    read_config(folder)
    check_connected(folder, _ELSEWHERE)
    _, chain = read_pair(folder)
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


def renew(folder: StateFolder, passphrase: Passphrase, *, if_due: bool) -> None:
    """Renew the certificate, unless it need not be yet.

    Raises:
        VdbError: it was not renewed; the present one is kept.
    """
    check_connected(folder, _ELSEWHERE)
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
