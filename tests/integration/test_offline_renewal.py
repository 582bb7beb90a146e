"""The certificate of a site without a network is renewed by files: in a session, by hand, killed anywhere, for nobody else."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select

from testkit.agent_cli import run
from testkit.carried import OfflineSite
from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.institutions import no_passphrase
from testkit.refusals import reason_of
from testkit.renewing import age_relay, request_for
from testkit.sessions import SITES, Runs, consortium
from vdb_coordinator.identity.keys import new_tls_key
from vdb_coordinator.store import schema
from vdb_coordinator.store.database import read_database
from vdb_participant.commands.connecting import examine_connection
from vdb_participant.commands.findings import Finding
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.offline import relay
from vdb_participant.offline.channel import Carriage
from vdb_participant.offline.files import Call, Reply, Request, decode_answer, encode_request
from vdb_participant.offline.mailbox import request_name
from vdb_participant.offline.relay_certificate import CertificateKeeper
from vdb_participant.offline.renewing import QUESTION, RENEW, Wish, read_signed
from vdb_participant.site.config import StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.keys import certificate_digest, certificate_request, certificate_validity
from vdb_participant.site.signing import open_signer
from vdb_participant.site.tls_files import read_pair
from vdb_shared import labels
from vdb_shared.audit.verify import verify
from vdb_shared.errors import AwaitedAnswerError, IdentityError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.enrolment import renewal_body
from vdb_shared.wire.federation_pb2_grpc import MembershipServiceStub

CARRIED = 3
"""Exit status of a command that ended because something is to be carried."""
LIST = Call("/vdb.v1.SessionService/ListSessions", (b"",))


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("consortium"), institutions=SITES) as running:
        yield running


@pytest.fixture
def site(coordinator: RunningCoordinator, tmp_path: Path, request: pytest.FixtureRequest) -> OfflineSite:
    """A site whose relay has a certificate that is due."""
    name = f"hospital-{abs(hash(request.node.name)) % 10**6}"
    found = OfflineSite(tmp_path / name, name)
    found.enrol(coordinator)
    age_relay(coordinator, found, days=12)
    return found


def chain_of(site: OfflineSite) -> bytes:
    """Return the certificate chain that the relay shows."""
    return read_pair(StateFolder(site.relay_folder.path))[1]


def calls_of(site: OfflineSite) -> Carriage:
    file = site.relay_folder.read()
    return site.carriage(file.invited.address, file.parties.consortium)


def ask(site: OfflineSite, link: Client | None = None) -> Client:
    """Ask for the sessions, and return who awaits the answer."""
    link = link or Client(calls_of(site))
    for _ in range(3):  # what is here already is used up first
        try:
            link.sessions()
        except AwaitedAnswerError:
            return link
    raise AssertionError("it asks for nothing")


def sessions(site: OfflineSite, link: Client | None = None) -> None:
    """Ask for the sessions, and carry the question and the answer."""
    waiting = ask(site, link)
    site.carry(wait=False)
    waiting.sessions()


def renewals(path: Path) -> list[str]:
    """Return the digests of the renewals that stand in an egress journal."""
    entries = EgressJournal(path).read().entries
    return [item.departure.digest for item in entries if item.departure.what == RENEW and item.departure.size]


def issued(coordinator: RunningCoordinator, site: OfflineSite) -> int:
    """Return how many certificates the coordinator has renewed for a site."""
    home, table = coordinator.home, schema.renewals
    query = select(table.c.certificate).where(table.c.institution == site.name)
    return len(read_database(home.database(home.read_config()), lambda connection: connection.execute(query).all()))


def put(site: OfflineSite, *calls: Call) -> Path:
    """Put a request into the outbox that the site signed, whatever its own program would have asked."""
    number = site.relay_folder.read().last + 1
    place = site.exchange / "outbox" / request_name(site.parties, number)
    place.write_bytes(encode_request(Request(number, calls), site.parties, open_signer(site.state, no_passphrase)))
    return place


def replies(site: OfflineSite) -> tuple[Reply, ...]:
    """Carry, and return the newest answer's replies."""
    place = site.carry(wait=False).answered[-1]
    return decode_answer(place.read_bytes(), site.parties, site.relay_folder.signer().public_key).replies


# By itself, and by hand.


def test_it_rides_along_with_a_session_and_costs_no_way(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """Five take part, one by nine files: meanwhile its relay's certificate is renewed, and neither key has changed places."""
    site = OfflineSite(tmp_path / "hospital", "hospital")
    site.enrol(coordinator)
    before, site.ways = age_relay(coordinator, site, days=12), 0
    others = consortium(coordinator, tmp_path, minimum=5, round_seconds=300, waiting_seconds=300)
    runs = Runs()
    runs.start(*others)
    site.meet(others[0].session, tmp_path / "models")
    outcome = site.take_part()
    runs.join()
    assert not runs.errors
    report = verify(outcome.bundle.read_bytes(), root=coordinator.root_fingerprint)
    assert not [line.id for line in report.lines if line.status == "FAIL"]
    assert site.ways == 9
    after = chain_of(site)
    assert certificate_validity(after)[1] > certificate_validity(before)[1]
    assert site.state.certificate.read_bytes() == after, "the site knows it"
    assert renewals(site.state.egress) == renewals(site.relay_folder.egress), "what left stands in both journals"
    assert (len(renewals(site.state.egress)), issued(coordinator, site)) == (1, 1)
    assert sorted(path.name for path in site.relay_folder.path.glob("*.pem")) == ["relay-key.pem", "tls.pem"]
    key = read_pair(StateFolder(site.relay_folder.path))[0].splitlines()[1]
    statement_key = site.state.statement_key.read_bytes().splitlines()[1]
    for secret, elsewhere in ((key, site.state.path), (statement_key, site.relay_folder.path)):
        for path in (*elsewhere.rglob("*"), *site.exchange.rglob("*")):
            assert path.is_dir() or secret not in path.read_bytes()
    assert {path.stat().st_mode & 0o077 for path in site.relay_folder.path.rglob("*")} == {0}
    sessions(site)
    assert len(renewals(site.relay_folder.egress)) == 1, "the new one is young"


def test_without_a_session_a_command_says_what_to_carry(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    words = ("--dir", site.state.path, "certificate")
    bare = run(*words, "renew")
    assert bare.returncode == 2
    assert "run `vdb-participant certificate renew --offline DIR`" in bare.stderr
    before = chain_of(site)
    for ways in range(2):
        asked = run(*words, "renew", "--if-due", "--offline", site.exchange)
        assert (asked.returncode, asked.stderr) == (CARRIED, "")
        assert f"carry {site.outbox()[-1]} to the relay, and bring back" in " ".join(asked.stdout.split())
        shown = " ".join(run(*words, "show").stdout.split())
        assert "it lies at the relay, which showed it last" in shown
        assert ("a renewal is signed and goes with the next request" in shown) is (ways == 1)
        done = run("--dir", site.relay_folder.path, "relay", "carry", site.exchange)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "the certificate was renewed; it ends on" in done.stdout
    last = run(*words, "renew", "--if-due", "--offline", site.exchange)
    assert last.returncode == 0, last.stdout + last.stderr
    ends = certificate_validity(chain_of(site))[1]
    assert last.stdout == f"renewed; valid until {ends:%Y-%m-%d %H:%M} UTC\n"
    assert ends > certificate_validity(before)[1]
    here = json.loads(run(*words, "show", "--json").stdout)
    there = json.loads(run("--dir", site.relay_folder.path, "certificate", "show", "--json").stdout)
    assert here == there
    assert here["digest"] == f"sha256:{certificate_digest(chain_of(site)).hex()}"
    young = run(*words, "renew", "--if-due", "--offline", site.exchange)
    assert (young.returncode, young.stdout[:14]) == (0, "not due before")
    wrong = run("--dir", site.relay_folder.path, "certificate", "renew")
    assert wrong.returncode == 2
    assert "this is a relay, whose certificate the site's key renews; at the site run" in wrong.stderr


def test_by_hand_it_is_renewed_before_it_is_due(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    before = age_relay(coordinator, site, days=1)
    for _ in range(2):
        assert run("--dir", site.state.path, "certificate", "renew", "--offline", site.exchange).returncode == CARRIED
        site.carry()
    assert run("--dir", site.state.path, "certificate", "renew", "--offline", site.exchange).returncode == 0
    assert chain_of(site) not in (before, b"")


def test_doctor_knows_how_long_it_lasts(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    def found(days: float) -> tuple[str, str]:
        age_relay(coordinator, site, days)
        findings: dict[str, Finding] = {item.subject: item for item in examine_connection(site.state, no_passphrase)}
        assert findings["coordinator"].status.value == "PASS"
        certificate = findings["certificate at the relay"]
        return certificate.status.value, certificate.words.partition("; ")[2]

    by_hand = "run `vdb-participant certificate renew --offline DIR`"
    assert found(1) == ("PASS", "")
    assert found(12) == ("PASS", "the files of the next session renew it")
    assert found(26) == ("WARN", f"{by_hand} before it ends")
    status, words = found(40)
    assert status == "FAIL"
    assert "ask the lead for a new invitation" in words


# Killed, refused, repeated.


@pytest.mark.parametrize("place", ["before-renewal", "after-renewal-answered", "after-renewal-kept"])
def test_a_relay_that_is_killed_while_it_renews_has_a_pair_that_works(
    coordinator: RunningCoordinator, site: OfflineSite, place: str
) -> None:
    before = chain_of(site)
    sessions(site)
    ask(site)
    carry = ("--dir", site.relay_folder.path, "relay", "carry", site.exchange, "--now")
    done = run(*carry, VDB_FAILPOINTS=f"{place}=kill")
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert (chain_of(site) != before) is (place == "after-renewal-kept")
    assert works(coordinator, site)
    again = run(*carry)
    assert again.returncode == 0, again.stdout + again.stderr
    assert chain_of(site) != before
    sessions(site)
    assert site.state.certificate.read_bytes() == chain_of(site)
    assert issued(coordinator, site) == 1, "one certificate, however often it was asked for"
    assert sorted(path.name for path in site.relay_folder.path.glob("*.pem")) == ["relay-key.pem", "tls.pem"]


def works(coordinator: RunningCoordinator, site: OfflineSite) -> bool:
    """Return whether the coordinator answers whoever shows the relay's pair."""
    ca = site.relay_folder.read().invited.ca_certificate.encode()
    journal = EgressJournal(site.relay_folder.path.with_name("elsewhere.jsonl"))
    with Client(Connection(coordinator.address, site.relay_folder.tls(ca), journal)) as client:
        return client.sessions() is not None


def test_a_renewal_that_is_refused_stops_nothing_and_is_asked_for_again(
    coordinator: RunningCoordinator, site: OfflineSite
) -> None:
    before = chain_of(site)
    sessions(site)
    signed = read_signed(site.state)
    assert signed is not None
    forged = pb.RenewCertificateRequest(certificate_request=signed.request, possession=bytes(64))
    stranger = pb.RenewCertificateRequest(certificate_request=request_for(new_tls_key()), possession=bytes(64))
    for message, words in ((forged, "signature of key"), (stranger, "for a key that this relay has not")):
        call = Call(RENEW, (message.SerializeToString(),))
        put(site, call, LIST)
        refused, listed, asked = replies(site)
        assert refused.refusal is not None
        assert words in refused.refusal.words
        assert (listed.method, listed.refusal) == (LIST.method, None)
        assert (asked.asked, asked.parts) == (QUESTION.digest, (before, signed.request)), "the same key again"
    assert chain_of(site) == before
    assert works(coordinator, site)


def test_an_old_request_renews_nothing(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    """Neither the file again, nor what the site signed for the certificate before, at the relay or at the coordinator."""
    sessions(site)
    ask(site)
    place = site.outbox()[-1]
    old = place.read_bytes()
    (call,) = [item for item in site.questions() if item.method == RENEW]
    sessions(site)
    after = chain_of(site)
    sessions(site)
    place.write_bytes(old)
    assert "an old file again?" in site.carry().refused[0]
    place.unlink()
    put(site, call, LIST)
    assert replies(site)[0].parts, "the key is certified already: nobody is asked"
    assert (chain_of(site), issued(coordinator, site)) == (after, 1)
    ca = site.relay_folder.read().invited.ca_certificate.encode()
    journal = EgressJournal(site.path / "elsewhere.jsonl")
    connection = Connection(coordinator.address, site.relay_folder.tls(ca), journal)
    with pytest.raises(grpc.RpcError) as caught:
        MembershipServiceStub(connection.channel).RenewCertificate(
            pb.RenewCertificateRequest.FromString(call.parts[0]), timeout=CALL
        )
    connection.close()
    assert reason_of(caught.value) == reasons.PROTOCOL, "it is for the certificate before"


# Programs of before.


def test_a_relay_of_before_refuses_the_question_and_goes_on(
    coordinator: RunningCoordinator, site: OfflineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no word for renewals, and neither asks for one nor answers."""
    monkeypatch.setattr(relay, "RENEW", "/vdb.v1.MembershipService/None")
    monkeypatch.setattr(CertificateKeeper, "wish", lambda *_: ())
    before = chain_of(site)
    assert run("--dir", site.state.path, "certificate", "renew", "--offline", site.exchange).returncode == CARRIED
    (line,) = site.carry().refused
    assert f"{RENEW}: is not for participants to call" in line
    site.outbox()[-1].unlink()
    sessions(site)
    assert chain_of(site) == before


def test_a_site_of_before_does_not_notice(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    before = chain_of(site)
    for _ in range(3):
        sessions(site, Client(replace(calls_of(site), renewals=None)))
    assert chain_of(site) == before
    assert renewals(site.relay_folder.egress) == []
    sessions(site)
    sessions(site)
    assert chain_of(site) != before, "once its program is newer"


# Attacks.


def test_who_has_copied_the_relay_gets_no_certificate_for_a_key_of_his_own(
    coordinator: RunningCoordinator, site: OfflineSite
) -> None:
    """He has both keys of the relay and once the stick; the relay's own key was signed for, and his would be a second one."""
    sessions(site)
    signed = read_signed(site.state)
    assert signed is not None
    thief, before = new_tls_key(), chain_of(site)
    request = certificate_request(thief, site.name)
    asked = Reply(RENEW, QUESTION.digest, (before, request))
    desk = calls_of(site).renewals
    assert desk is not None
    with pytest.raises(IdentityError, match=r"asks for another key .* have the lead revoke this institution's key"):
        desk.sign(asked)
    assert read_signed(site.state) == signed
    call = desk.sign(asked, Wish(another=True))  # the protection is off: the operator says that the relay was put back
    ca = site.relay_folder.read().invited.ca_certificate.encode()
    connection = Connection(coordinator.address, site.relay_folder.tls(ca), EgressJournal(site.path / "thief.jsonl"))
    answer = MembershipServiceStub(connection.channel).RenewCertificate(
        pb.RenewCertificateRequest.FromString(call.parts[0]), timeout=CALL
    )
    connection.close()
    assert answer.certificate_chain, "so it is that protection which keeps him out"


def test_a_relay_that_was_put_back_from_a_backup_goes_on_when_the_operator_says_so(
    coordinator: RunningCoordinator, site: OfflineSite
) -> None:
    sessions(site)
    waiting = StateFolder(site.relay_folder.path).tls_next
    waiting.unlink()  # the backup is of the time before it made that key
    renew = ("--dir", site.state.path, "certificate", "renew", "--offline", site.exchange)
    assert run(*renew).returncode == CARRIED
    site.carry()
    lost = run(*renew)
    assert lost.returncode == 1
    assert "the site signed for a key that this relay has not" in lost.stderr
    refused = run(*renew)
    assert refused.returncode == 1
    assert (
        "run `vdb-participant certificate renew --offline DIR --another-key`; else it may have been copied"
        in refused.stderr
    )
    before = chain_of(site)
    assert run(*renew, "--another-key").returncode == CARRIED
    site.carry()
    done = run(*renew, "--another-key")
    assert done.returncode == 0, done.stderr
    assert chain_of(site) != before


def test_what_is_signed_is_a_renewal_and_nothing_else(site: OfflineSite) -> None:
    before = chain_of(site)
    sessions(site)
    signed = read_signed(site.state)
    assert signed is not None
    message = pb.RenewCertificateRequest.FromString(signed.message)
    body = renewal_body(site.parties.consortium, site.name, certificate_digest(before), message.certificate_request)
    key = open_signer(site.state, no_passphrase).public_key
    key.verify(labels.TYPE_RENEWAL, body, message.possession)
