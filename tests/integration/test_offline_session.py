"""A site without a network: whole sessions by files, and what the relay that carries them can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testkit.carried import DiedError, OfflineSite, dying
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import Institution
from testkit.sessions import Runs, consortium, journal_of, kinds
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.offline import mailbox, relay
from vdb_participant.offline.files import Reply
from vdb_participant.session.departures import compare
from vdb_participant.session.exchange import LEAVING, SHARE_SENT
from vdb_participant.site.egress import EgressJournal
from vdb_shared import labels
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.statement import Abort, Join, Statement
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import AwaitedAnswerError, ProtocolError
from vdb_shared.identity import Signer, StatementKey
from vdb_shared.secagg.messages import AdvertisedKeys
from vdb_shared.wire import federation_pb2 as pb

KEYS = "/vdb.v1.AggregationService/GetAdvertisedKeys"


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=4) as running:
        yield running


@pytest.fixture
def site(coordinator: RunningCoordinator, tmp_path: Path) -> OfflineSite:
    found = OfflineSite(tmp_path / "hospital", "hospital")
    found.enrol(coordinator)
    found.ways = 0
    return found


def begun(coordinator: RunningCoordinator, site: OfflineSite, tmp_path: Path, minimum: int) -> tuple[Institution, Runs]:
    """Return the site's agent in a session in which four others have begun."""
    others = consortium(coordinator, tmp_path, minimum=minimum, round_seconds=300, waiting_seconds=300)
    runs = Runs()
    runs.start(*others)
    return site.meet(others[0].session, tmp_path / "models"), runs


def test_five_take_part_one_by_files_whose_agent_and_relay_die_again_and_again(
    coordinator: RunningCoordinator, site: OfflineSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital, runs = begun(coordinator, site, tmp_path, 5)
    dying(monkeypatch, mailbox, 7)
    dying(monkeypatch, relay, 3)
    left: set[str] = set()
    while True:
        try:
            outcome = site.life()
            break
        except DiedError:
            continue
        except AwaitedAnswerError:
            parts = {sha256_digest(part) for call in site.questions() for part in call.parts}
            assert parts <= messages_of(hospital), "it was in the outbox before it was in the journal of what leaves"
            left |= parts
            site.carry_until_done()
    runs.join()
    assert not runs.errors
    result = outcome.bundle.read_bytes()
    assert {found.bundle.read_bytes() for found in runs.outcomes.values()} == {result}
    report = verify(result, root=coordinator.root_fingerprint)
    assert not [line.id for line in report.lines if line.status == "FAIL"]
    assert hospital.measure.calls == 1
    assert kinds(hospital) == ["debit"]
    entries = EgressJournal(hospital.site.folder.egress).read().entries
    assert all(claim.entries for claim in compare(entries, result, "hospital").claims)
    assert site.ways == 9


def messages_of(institution: Institution) -> set[str]:
    entries = EgressJournal(institution.site.folder.egress).read().entries
    return {entry.departure.digest for entry in entries if entry.departure.kind == "message"}


def test_a_relay_that_puts_its_own_key_in_a_peers_place_reads_nothing(
    coordinator: RunningCoordinator, site: OfflineSite, tmp_path: Path
) -> None:
    """It would open what is sealed for that peer. The site leaves before it seals anything; the others finish."""
    hospital, runs = begun(coordinator, site, tmp_path, 4)
    mine = StatementKey.generate()

    def swapped(reply: Reply) -> Reply:
        if reply.method != KEYS:
            return reply
        answer = pb.GetAdvertisedKeysResponse.FromString(reply.parts[0])
        body = replace(AdvertisedKeys.decode(answer.keys[0].body), channel_key=bytes([9]) + bytes(31)).encode()
        answer.keys[0].body = body
        answer.keys[0].signature = mine.sign(labels.TYPE_ADVERTISE_KEYS, body)
        return replace(reply, parts=(answer.SerializeToString(),))

    with pytest.raises(ProtocolError, match="signature"):
        site.take_part(on_the_way=lambda: site.resign(swapped))
    assert not {SHARE_SENT, LEAVING} & set(journal_of(hospital))
    assert kinds(hospital) == []
    site.carry()  # the signed abort
    runs.join()
    assert not runs.errors


def test_a_relay_cannot_speak_for_its_site(coordinator: RunningCoordinator, site: OfflineSite, tmp_path: Path) -> None:
    """It has the TLS key under which the site calls, and that proves nothing: with the statement key the same is accepted."""
    others = consortium(coordinator, tmp_path)
    hospital = site.meet(others[0].session, tmp_path / "models")
    file, folder = site.relay_folder.read(), site.relay_folder
    tls = folder.tls(file.invited.ca_certificate.encode())

    with Client(Connection(coordinator.address, tls, EgressJournal(folder.egress))) as client:
        details = client.details(hospital.session)
        roster = details.roster.verify(coordinator.root_fingerprint, datetime.now(UTC))
        seat = roster.member("hospital").seat
        assert seat is not None
        join = Join(
            session=details.session,
            spec=sha256_digest(details.spec),
            roster=roster.digest,
            institution="hospital",
            seat=seat,
            consent=sha256_digest(b"a plan that nobody was shown"),
        )
        abort = Abort(
            session=details.session, institution="hospital", stage="", reason="", aborted="2026-01-01T00:00:00Z"
        )
        for signer in (StatementKey.generate(), folder.signer()):
            with pytest.raises(ProtocolError):
                client.join(details.session, signed(join, signer))
            with pytest.raises(ProtocolError):
                client.abort(details.session, signed(abort, signer))
        client.join(details.session, signed(join, hospital.site.signer))


def signed(predicate: Join | Abort, signer: Signer) -> bytes:
    return Statement((), predicate).sign(signer).to_json()
