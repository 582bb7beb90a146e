"""`vdb-participant certificate` as a process that is killed, and what it and `doctor` say of dates."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import no_passphrase, write_site
from testkit.renewing import aged
from vdb_participant.commands.connecting import examine_connection
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.site.institution import Site, open_site


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("commands"), institutions=1) as running:
        yield running


def site_of(coordinator: RunningCoordinator, folder: Path, days: float) -> Site:
    return write_site(folder, aged(coordinator, coordinator.identities[0], days), coordinator.address)


def works(site: Site) -> bytes:
    """Return the certificate with which the site of a folder is answered."""
    found = open_site(site.folder, no_passphrase)
    with Client(
        Connection(found.config.address, found.tls, found.egress, find_proxy=lambda host, port: None)
    ) as client:
        assert client.sessions() == ()
    return found.tls.certificate_chain


@pytest.mark.parametrize("place", ["before-renewal", "after-renewal-answered", "after-renewal-kept"])
def test_a_site_that_is_killed_while_it_renews_can_call_and_renew(
    coordinator: RunningCoordinator, tmp_path: Path, place: str
) -> None:
    site = site_of(coordinator, tmp_path / "site", days=12)
    done = run("--dir", site.folder.path, "certificate", "renew", VDB_FAILPOINTS=f"{place}=kill")
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = works(site)
    assert (kept != site.tls.certificate_chain) is (place == "after-renewal-kept")
    printed = run("--dir", site.folder.path, "certificate", "renew", "--if-due").stdout
    if place == "after-renewal-kept":
        assert printed.startswith("not due before")
        printed = run("--dir", site.folder.path, "certificate", "renew").stdout
    assert printed.startswith("renewed; valid until ")
    assert works(site) not in (kept, site.tls.certificate_chain)
    assert sorted(path.name for path in site.folder.path.glob("*.pem")) == ["statement-key.pem", "tls.pem"]


def test_dates_are_shown(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    young, due, late = (site_of(coordinator, tmp_path / name, days) for name, days in (("a", 1), ("b", 12), ("c", 26)))
    facts = json.loads(run("--dir", young.folder.path, "certificate", "show", "--json").stdout)
    begins, ends = young.tls.validity
    assert facts["name"] == "spiffe://testbed/participant/site-0"
    assert (facts["begins"], facts["ends"]) == (f"{begins:%Y-%m-%dT%H:%M:%SZ}", f"{ends:%Y-%m-%dT%H:%M:%SZ}")
    text = run("--dir", young.folder.path, "certificate", "show").stdout
    assert f"valid from {facts['begins']} to {facts['ends']}, renewed from {facts['renewed_from']} on" in text
    words = []
    for site in (young, due, late):
        found = {item.subject: item for item in examine_connection(site.folder, no_passphrase)}
        words.append(
            (found["certificate and clock"].status.value, found["certificate and clock"].words.partition("; ")[2])
        )
        assert found["protocol"].status.value == "PASS"
    assert words == [
        ("PASS", ""),
        ("PASS", "the next session renews it"),
        ("WARN", "run `vdb-participant certificate renew` before it ends"),
    ]
