"""After a result is published: members and an auditor object, the lead withdraws it, a session replaces it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.agent_cli import run as participant
from testkit.audit_cli import vdb_audit
from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.institutions import Institution, no_passphrase
from testkit.refusals import refused
from testkit.sessions import SITES, Runs, consortium
from testkit.statements import sign
from vdb_coordinator.approvals import parse_proposal, proposal_digest, sign_proposal
from vdb_coordinator.cli import app as lead_app
from vdb_coordinator.store import proposals
from vdb_coordinator.store.database import Database
from vdb_participant.agent import look
from vdb_participant.commands.objecting import object_here
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_shared.audit.auditor_key import make_key
from vdb_shared.audit.log_files import open_log
from vdb_shared.audit.objecting import object_to, place_of, target_of
from vdb_shared.bundle.objections import MAX_OBJECTION_BYTES, MOST_OBJECTIONS, Objection
from vdb_shared.errors import FormatError, SignatureError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.spec import parse_spec_json
from vdb_shared.transparency.note import parse_key
from vdb_shared.transparency.proof import LogProof, parse_proof
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import LogServiceStub

AUDITOR = "court-of-audit"


@dataclass(frozen=True)
class Finished:
    """A published session, its institutions, and an auditor who was admitted before it.

    Attributes:
        coordinator: serves.
        institutions: with their state folders.
        session: its id.
        folder: for files: result.vdbb, auditor.pem.
    """

    coordinator: RunningCoordinator
    institutions: list[Institution]
    session: str
    folder: Path

    @property
    def bundle(self) -> bytes:
        return (self.folder / "result.vdbb").read_bytes()

    def lead(self, *words: str | Path, expect: int = 0) -> str:
        done = CliRunner().invoke(lead_app, ["--dir", str(self.coordinator.home.path), *map(str, words)])
        assert done.exit_code == expect, f"{done.output} {done.exception!r}"
        return done.output

    def objection(self, number: int, text: str, **changes: str) -> bytes:
        """Return an objection of an institution, perhaps with other fields than it should have."""
        target, signer = target_of(self.bundle), self.institutions[number].site.signer
        fields = {
            "session": target.session,
            "result": target.result,
            "objector": self.institutions[number].site.config.institution,
            "reason": "data",
            "text": text,
            "objected": "2026-02-02T09:00:00Z",
        }
        return sign(Objection.model_validate(fields | changes), signer).to_json()

    def bring(self, number: int, objection: bytes) -> pb.ObjectResponse:
        """Hand in an objection over an institution's connection."""
        with self.coordinator.channel(self.coordinator.identities[number]) as channel:
            request = pb.ObjectRequest(session=self.session, objection=objection)
            return LogServiceStub(channel).Object(request, timeout=CALL)

    @property
    def log_key(self) -> str:
        key: str = json.loads(self.lead("log", "--json"))["key"]
        return key

    def entries(self, kind: str) -> list[bytes]:
        """Return the entries of a kind in the public log."""
        log, _ = open_log(str(self.coordinator.home.log), parse_key(self.log_key))
        return [entry for entry in log.entries() if f'"kind":"{kind}"'.encode() in entry]

    def refusal(self, *words: str | Path) -> str:
        """Return why the lead's command is refused."""
        done = CliRunner().invoke(lead_app, ["--dir", str(self.coordinator.home.path), *map(str, words)])
        assert done.exit_code != 0
        return str(done.exception)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    path = tmp_path_factory.mktemp("objections")
    with running_coordinator(path, institutions=SITES) as coordinator:
        make_key(path / "auditor.pem", None)
        words = ["--dir", str(coordinator.home.path), "auditor", AUDITOR, str(path / "auditor.pub.pem"), "--yes"]
        done = CliRunner().invoke(lead_app, words)
        assert "the roster has version" in done.output, done.output
        institutions = consortium(coordinator, path)
        runs = Runs()
        runs.start(*institutions)
        runs.join()
        assert not runs.errors
        session = institutions[0].session
        (path / "result.vdbb").write_bytes(coordinator.admin.bundle(session))
        yield Finished(coordinator, institutions, session, path)


def test_a_participant_objects_from_its_state_folder(finished: Finished) -> None:
    site, kept = finished.institutions[0].site, finished.folder / "mine.dsse.json"
    words: list[str | Path] = [
        "object",
        finished.session[:19],
        "--reason",
        "model",
        "--text",
        "Our driver was broken.",
        "-o",
        kept,
    ]
    done = participant("--dir", site.folder.path, *words)
    assert done.returncode == 0, done.stderr
    assert "the objection is entry 2 of the log" in done.stdout
    assert [b"Our driver" in entry for entry in finished.entries("objection")] == [False]
    given: list[str | Path] = [finished.folder / "result.vdbb", "--root", finished.coordinator.root_fingerprint]
    (finished.folder / "said").mkdir()
    kept.rename(finished.folder / "said" / kept.name)
    more: list[str | Path] = ["--log", finished.coordinator.home.log, "--statements", finished.folder / "said"]
    shown = vdb_audit("verify", *given, *more)
    assert shown.returncode == 0, shown.stdout
    assert "site-0 objects (model; logged " in shown.stdout
    assert "“Our driver was broken.”" in shown.stdout


def test_who_did_not_join_objects_too_and_asks_for_the_bundle(finished: Finished) -> None:
    """A member of the roster without a folder of this session fetches the result that it objects to."""
    site = finished.institutions[1].site
    folder = site.folder.session(finished.session)
    folder.rename(folder.with_name("aside"))
    try:
        object_here(site.folder, no_passphrase, finished.session, ("figures", "The ranks surprise us."), None)
    finally:
        folder.with_name("aside").rename(folder)
    assert len(finished.entries("objection")) == 2
    kept = {path.suffix for path in site.folder.objections.iterdir()}
    assert kept == {".json", ".entry", ".proof"}


def test_a_lead_carries_what_an_auditor_signed(finished: Finished) -> None:
    out = finished.folder / "auditor.dsse.json"
    words: list[str | Path] = [
        "--reason",
        "procedure",
        "--text",
        "The spec was changed by word of mouth.",
        "--out",
        out,
    ]
    done = vdb_audit("object", finished.folder / "result.vdbb", *words, "--key", finished.folder / "auditor.pem")
    assert done.returncode == 0, done.stderr
    said = finished.lead("session", "object", finished.session[:19], out)
    assert finished.lead("session", "object", finished.session[:19], out) == said
    (entry,) = (entry for entry in finished.entries("objection") if AUDITOR.encode() in entry)
    assert json.loads(entry)["session"] == finished.session


def test_any_member_carries_an_auditors_objection_past_an_unwilling_lead(finished: Finished) -> None:
    key = StatementKey.from_pem((finished.folder / "auditor.pem").read_bytes(), None)
    target = target_of(finished.bundle, finished.coordinator.root_fingerprint)
    objection = object_to(target, key, "privacy", "Ask who holds the keys.", "2026-02-02T10:00:00Z")
    answer = finished.bring(2, objection)
    place = place_of(target, objection, answer.entry, answer.proof).index
    assert finished.bring(3, objection) == answer
    assert place == len(finished.entries("objection")) + 1
    (finished.folder / "carried.dsse.json").write_bytes(objection)
    site = finished.institutions[1].site
    carried = finished.folder / "carried.dsse.json"
    done = participant("--dir", site.folder.path, "object", finished.session[:19], "--carry", carried)
    assert f"the objection is entry {place} of the log" in done.stdout, done.stderr
    with pytest.raises(FormatError, match="not of this objection"):
        place_of(target, finished.objection(2, "another"), answer.entry, answer.proof)
    proof = parse_proof(answer.proof)
    lied = LogProof(proof.index + 1, proof.path, proof.checkpoint).to_bytes()
    with pytest.raises((FormatError, SignatureError)):
        place_of(target, objection, answer.entry, lied)


def test_what_is_no_members_objection_to_this_result_is_refused_and_recorded(finished: Finished) -> None:
    before, other = finished.entries("objection"), "sha256:" + "7" * 64
    good = finished.objection(1, "a point")
    for objection, reason in (
        (finished.objection(1, "in the name of another", objector="site-2"), reasons.PROTOCOL),
        (finished.objection(1, "in no member's name", objector="zoo-zurich"), reasons.INVALID),
        (finished.objection(1, "about another session", session=other), reasons.INVALID),
        (finished.objection(1, "about another result", result=other), reasons.INVALID),
        (good + b" " * MAX_OBJECTION_BYTES, reasons.INVALID),
        (good.replace(b'"sig":"', b'"sig":"AAAA'), reasons.PROTOCOL),
        (b"{}", reasons.INVALID),
    ):
        found = refused(lambda data=objection: finished.bring(1, data))  # type: ignore[misc]  # called at once
        assert found == reason, objection
    assert finished.entries("objection") == before


def test_a_member_is_heard_so_often_and_not_more(finished: Finished) -> None:
    for number in range(MOST_OBJECTIONS):
        finished.bring(3, finished.objection(3, f"point {number}"))
    assert refused(lambda: finished.bring(3, finished.objection(3, "one more"))) == reasons.TOO_MUCH
    finished.bring(3, finished.objection(2, "the others are still heard"))


def test_nobody_outside_the_sessions_roster_reads_or_objects(finished: Finished) -> None:
    late = finished.coordinator.enrol("site-late")
    with finished.coordinator.channel(late) as channel:
        stub = LogServiceStub(channel)
        request = pb.ObjectRequest(session=finished.session, objection=finished.objection(0, "carried"))
        assert refused(lambda: stub.Object(request, timeout=CALL)) == reasons.NOT_A_MEMBER
        ask = pb.GetObjectionsRequest(session=finished.session)
        assert refused(lambda: stub.GetObjections(ask, timeout=CALL)) == reasons.NOT_A_MEMBER


def test_an_open_session_has_nothing_to_object_to(finished: Finished) -> None:
    spec = parse_spec_json(finished.coordinator.admin.details(finished.session).spec)
    fresh = finished.coordinator.admin.create_session(spec)
    with finished.coordinator.channel(finished.coordinator.identities[0]) as channel:
        request = pb.ObjectRequest(session=fresh, objection=finished.objection(0, "too early"))
        assert refused(lambda: LogServiceStub(channel).Object(request, timeout=CALL)) == reasons.NOT_YET
    with pytest.raises(UsageError, match="was never published, so there is nothing to replace"):
        finished.coordinator.admin.create_session(spec, fresh)
    finished.coordinator.admin.abort_session(fresh, "a test")
    finished.coordinator.settle(fresh)
    with pytest.raises(UsageError, match="was aborted, so it replaces nothing"):
        finished.coordinator.admin.withdraw_result(finished.session, "for another", fresh)


def test_what_several_people_sign_of_a_withdrawal_is_what_is_done(finished: Finished) -> None:
    """Another session's id may begin like the one they meant by then: they sign the whole of it, or it is not done."""
    coordinator, session = finished.coordinator, finished.session
    spec = parse_spec_json(coordinator.admin.details(session).spec)
    second = coordinator.admin.create_session(spec)
    keys = {name: StatementKey.generate() for name in ("anna", "ben")}
    config, before = coordinator.home.config_file, coordinator.home.config_file.read_text()
    lines = [f'{name} = "{key.public_key.raw.hex()}"' for name, key in keys.items()]
    coordinator.stop()
    config.write_text(
        "\n".join([before, "[approvals]", "actions = { withdraw_result = 2 }", "[approvals.keys]", *lines])
    )
    coordinator.start()

    def proposed(**fields: str) -> bytes:
        wish = pb.WithdrawResultRequest(**{"session": session[7:19], "reason": "other clips", **fields})
        return coordinator.admin.propose(pb.ProposeActionRequest(withdraw_result=wish))

    for fields, words in (
        ({"superseded_by": "abcdef"}, "no session has that id"),
        ({"reason": "x" * 2001}, "at most 2000"),
        ({"reason": " "}, "words"),
    ):
        with pytest.raises(UsageError, match=words):
            proposed(**fields)
    proposal = parse_proposal(proposed(superseded_by=second[7:19]))
    assert (proposal.parameters["session"], proposal.parameters["superseded_by"]) == (session, second)
    older = proposal.model_copy(update={"parameters": proposal.parameters | {"superseded_by": second[7:19]}}).encode()
    coordinator.stop()
    database = Database(coordinator.home.sqlite)
    database.run_now(lambda connection: proposals.store(connection, older, proposal.expires))
    database.close()
    coordinator.start()
    for name, key in keys.items():
        coordinator.admin.approve_proposal(proposal_digest(older), name, sign_proposal(older, key))
    with pytest.raises(UsageError, match="an older release; propose it again"):
        coordinator.admin.execute(proposal_digest(older))
    coordinator.stop()
    config.write_text(before)
    coordinator.start()


def check_that_all_say_so(finished: Finished, second: str) -> None:
    """Look at every command that names a result which is withdrawn; `second` is a session that has none."""
    unasked = ["session", "withdraw", "--reason", "a site used other clips"]
    assert "so nothing was done" in finished.refusal(*unasked, finished.session[7:19])
    assert f"{second[7:19]} has no result to withdraw: institutions join" in finished.refusal(*unasked, second[7:19])
    site: list[str | Path] = ["--dir", finished.institutions[0].site.folder.path]
    joined = participant(*site, "join", finished.session[7:19], "--data", finished.folder)
    assert joined.returncode == 0, joined.stderr
    assert "the coordinator says that the result is withdrawn: a site used other clips; its signed" in joined.stdout
    exported = finished.lead("export", finished.session[7:19], "-o", finished.folder / "withdrawn.vdbb")
    assert "this result is withdrawn: give the log to whoever reads it (--log)" in exported
    assert f"--log {finished.coordinator.home.log}" in exported
    for listed in (finished.lead("session", "list"), participant(*site, "sessions").stdout):
        assert listed.count("published; the result is withdrawn") == 1
    listing = json.loads(finished.lead("session", "list", "--json"))
    assert {item["session"] for item in listing if item["withdrawn"]} == {finished.session}


def test_a_withdrawn_and_replaced_result_is_seen_by_all(finished: Finished) -> None:
    coordinator = finished.coordinator
    spec = parse_spec_json(coordinator.admin.details(finished.session).spec)
    second = coordinator.admin.create_session(spec, finished.session[7:19])
    institution = finished.institutions[0]
    with Client(Connection(institution.site.config.address, institution.site.tls, institution.site.egress)) as link:
        plan = look(institution.site, link, second, institution.resources).plan.text
    assert f"Replaces the result of {finished.session} " in " ".join(plan.split())
    words = ["--reason", "a site used other clips", "--superseded-by", second[7:19], "--yes"]
    finished.lead("session", "withdraw", finished.session[7:19], *words)
    assert ": published: the result is withdrawn: " in finished.lead("session", "status", finished.session[7:19])
    assert "withdrawn already" in finished.refusal("session", "withdraw", finished.session[7:19], *words)
    check_that_all_say_so(finished, second)
    coordinator.restart()
    said = finished.folder / "fetched"
    expected = len(finished.entries("objection"))
    fetched = finished.lead("session", "objections", finished.session[7:19], "--out", said)
    assert f"{expected} objections, the withdrawal" in fetched
    assert finished.lead("session", "objections", finished.session[7:19], "--out", said) == fetched
    assert len(list(said.iterdir())) == expected + 1
    other = finished.folder / "fetched by a site"
    asked = participant("--dir", institution.site.folder.path, "objections", finished.session[:19], "--out", other)
    assert asked.returncode == 0, asked.stderr
    by_site = {file.name: file.read_bytes() for file in other.iterdir()}
    assert by_site == {file.name: file.read_bytes() for file in said.iterdir()}
    mine = other / sorted(by_site)[0]
    mine.write_bytes(b"another file of that name")
    again = participant("--dir", institution.site.folder.path, "objections", finished.session[:19], "--out", other)
    assert "is there already, with other bytes" in again.stderr
    assert mine.read_bytes() == b"another file of that name"
    given: list[str | Path] = [
        finished.folder / "result.vdbb",
        "--root",
        coordinator.root_fingerprint,
        "--log",
        coordinator.home.log,
    ]
    done = vdb_audit("verify", *given, "--statements", said)
    assert done.returncode == 0, done.stdout
    assert "PASS, BUT THE RESULT IS WITHDRAWN" in done.stdout
    assert "“a site used other clips”" in done.stdout
    assert f"Session {second} is to replace it; that session is " in done.stdout
    monitored = vdb_audit("monitor", coordinator.home.log, "--key", finished.log_key)
    assert f"replaces {finished.session[:19]}" in monitored.stdout
    assert f"replaced by {second[:19]}" in monitored.stdout
    assert "WRONG" not in monitored.stdout


def test_an_auditors_name_and_key_are_its_own(finished: Finished) -> None:
    path = finished.folder
    make_key(path / "other.pem", None)
    assert "is a member already" in finished.refusal("auditor", "site-0", path / "other.pub.pem", "--yes")
    assert "uses the key of" in finished.refusal("auditor", "new", str(path / "auditor.pub.pem"), "--yes")
    assert "compare the fingerprint" in finished.refusal("auditor", "new", str(path / "other.pub.pem"))
    with pytest.raises(UsageError, match="is an auditor, which does not take part"):
        finished.coordinator.admin.invite(AUDITOR)
