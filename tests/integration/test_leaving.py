"""Leaving a session at every step: what was said would follow is what follows; and what `status` says of each."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import pytest

from testkit.agent_cli import run
from testkit.carried import DiedError
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import Institution, no_passphrase
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds, recorded
from testkit.small_specs import small_spec
from vdb_participant.apart import leave_session, left, result_without_us
from vdb_participant.commands import standing
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Link
from vdb_participant.session import records
from vdb_participant.session.exchange import LEAVING
from vdb_participant.session.standing import CONSEQUENCES, Left, Step, left_of, step_of, without_us
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_participant.site.journal_format import Record, encode_journal, read_journal
from vdb_participant.site.storage import FileStorage
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Abort, parse_statement
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import StoreError, UnreachableError, UsageError, VdbError
from vdb_shared.secagg.parameters import Seat, smallest_cohort
from vdb_shared.wire.status import Shares


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("consortium"), institutions=SITES) as running:
        yield running


class Stopped(Client):
    """Its agent ends when it has sent its shares."""

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        raise DiedError


@dataclass(frozen=True)
class Story:
    """A session that one left after its shares, as its operator saw it, and one who took part to the end."""

    victim: Institution
    whole: Institution
    shown: str
    refused: subprocess.CompletedProcess[str]
    gone: subprocess.CompletedProcess[str]
    errors: dict[str, VdbError]


@pytest.fixture(scope="module")
def story(coordinator: RunningCoordinator, tmp_path_factory: pytest.TempPathFactory) -> Story:
    path = tmp_path_factory.mktemp("story")
    victim, *others = consortium(coordinator, path, minimum=3, round_seconds=600, waiting_seconds=300)
    runs = Runs()
    runs.start(*others)
    config = victim.site.config
    with Stopped(Connection(config.address, victim.site.tls, victim.site.egress)) as link, pytest.raises(DiedError):
        victim.take_part(link)
    state = victim.site.folder.path
    shown = io.StringIO()
    with redirect_stdout(shown):
        standing.show(victim.site.folder, victim.session[7:15], as_json=True)
    refused = run("--dir", state, "leave", victim.session)
    gone = run("--dir", state, "leave", victim.session, "--reason", "our data were withdrawn", "--yes")
    runs.join()
    return Story(victim, others[0], shown.getvalue(), refused, gone, runs.errors)


@pytest.fixture(scope="module")
def whole(story: Story) -> Institution:
    return story.whole


@dataclass
class Told:
    """A coordinator that is told of an abort, or is away."""

    away: bool = False
    statements: list[bytes] = field(default_factory=list)

    def abort(self, session: str, statement: bytes) -> None:
        if self.away:
            raise UnreachableError("away")
        self.statements.append(statement)


def of(institution: Institution) -> tuple[Record, ...]:
    data = (institution.folder / "journal").read_bytes()
    return read_journal(data, digest_bytes(institution.session)).records


def cut(whole: Institution, length: int, path: Path) -> Institution:
    """Return the institution as it was after so many records: what a crash would have left, but for secrets and the ledger."""
    shutil.copytree(whole.site.folder.path, path)
    site = open_site(StateFolder(path), no_passphrase)
    found = Institution(site, whole.resources, whole.session)
    kept = [
        Record(item.name, "secret" if item.kind == "erased" else item.kind, item.value) for item in of(whole)[:length]
    ]
    (found.folder / "journal").write_bytes(encode_journal(digest_bytes(whole.session), kept)[0])
    if records.DEBIT_BEGUN not in {item.name for item in kept}:
        site.folder.ledger.unlink()
    return found


def test_every_step_is_reached_in_order(whole: Institution) -> None:
    names = [record.name for record in of(whole)]
    steps = [step_of(names[: length + 1]) for length in range(len(names))]
    assert list(dict.fromkeys(steps)) == [step for step in Step if step is not Step.LEFT]
    assert set(CONSEQUENCES) == set(Step)


def test_an_input_that_left_before_a_restart_is_not_forgotten() -> None:
    before = ["consent", "join/sent", "seal/received", "measurement", "advertise-keys/sent", "share-keys/sent"]
    assert step_of([*before, "restart/1"]) is Step.MEASURED
    assert step_of([*before, "restart/1", "attempt-1/advertise-keys/sent"]) is Step.ADVERTISED
    assert step_of([*before, "masked-input/leaving", "restart/1"]) is Step.CONTRIBUTED


@pytest.mark.parametrize("dropout", ["0", "0.02", "0.34"])
@pytest.mark.parametrize("joined", [3, 4, 5, 20])
def test_whether_the_others_are_enough_is_what_the_rounds_will_say(joined: int, dropout: str) -> None:
    spec = small_spec(cohort=f"{{ minimum = 3, collusion = 1, dropout = {dropout} }}")
    enough = joined - 1 >= smallest_cohort(joined, spec.cohort.collusion, Decimal(dropout))
    words = "it goes on without us" if enough else "without us the session ends without a result"
    assert words in without_us(Step.CONTRIBUTED, spec, 30, joined)


def test_before_the_seal_the_roster_says_whether_enough_others_can_join() -> None:
    spec = small_spec(cohort="{ minimum = 3, collusion = 1, dropout = 0 }")
    assert "goes on" in without_us(Step.JOINED, spec, 4, 0)
    assert "2 others can join and 3 are needed: without us the session ends" in without_us(Step.JOINED, spec, 3, 0)
    assert without_us(Step.REVEALED, spec, 4, 4) == without_us(Step.CONSENTED, spec, 4, 0) == ""


def test_leaving_after_every_record_does_what_was_said(whole: Institution, tmp_path: Path) -> None:
    done = of(whole)
    for length in range(1, len(done)):
        names = {record.name for record in done[:length]}
        step, victim, told = step_of(names), cut(whole, length, tmp_path / str(length)), Told()
        assert leave_session(victim.site, cast(Link, told), victim.session, "our data were withdrawn")
        assert len(told.statements) == (records.JOIN_SENT in names), step
        for statement in told.statements:
            abort, _ = parse_statement(Envelope.from_json(statement).payload, Abort)
            assert (abort.reason, abort.session) == ("our data were withdrawn", victim.session)
        stays = "stays spent" in CONSEQUENCES[step]
        assert stays == (LEAVING in names)
        left = kinds(victim) if victim.site.folder.ledger.exists() else []
        assert left in ((["debit"],) if stays else ([], ["debit", "refund"])), step
        assert "secret" not in journal_of(victim).values()
        assert recorded(victim, records.OUTCOME) == b"we left the session: our data were withdrawn"
        with pytest.raises(UsageError, match="there is nothing to leave"):
            leave_session(victim.site, cast(Link, told), victim.session, "again")


def test_a_coordinator_that_is_away_does_not_keep_us(whole: Institution, tmp_path: Path) -> None:
    victim = cut(whole, 3, tmp_path / "state")
    assert not leave_session(victim.site, cast(Link, Told(away=True)), victim.session, "why")
    assert records.OUTCOME in journal_of(victim)


def test_one_leaves_after_its_shares_and_the_others_finish(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """They need not wait for the deadline, which is far away."""
    victim = story.victim
    assert not story.errors
    (shown,) = json.loads(story.shown)
    assert (shown["step"], shown["at_work"], shown["rho"]) == ("shared", False, "")
    assert story.refused.returncode == 2
    assert CONSEQUENCES[Step.SHARED] in story.refused.stdout
    assert "3 others joined and 3 are needed: it goes on without us, if they stay." in story.refused.stdout
    assert "not left, nothing was sent" in story.refused.stderr
    assert story.gone.returncode == 0, story.gone.stderr
    assert story.gone.stdout.endswith("left\n")
    assert kinds(victim) == []
    standing.show(victim.site.folder, "", as_json=False)
    after = capsys.readouterr().out
    assert "we left the session: our data were withdrawn" in after
    assert "leaving now" not in after
    with pytest.raises(UsageError, match=r"has ended for us \(we left the session: our data were withdrawn\)"):
        leave(victim)


def test_the_result_of_a_session_that_was_left_is_not_vouched_for(story: Story) -> None:
    site, config = story.victim.site, story.victim.site.config
    with Client(Connection(config.address, site.tls, site.egress)) as link:
        assert result_without_us(site, link, story.victim.session) is None
    assert not (story.victim.folder / "result.vdbb").exists()


def test_a_session_that_was_left_is_called_that_wherever_it_is_named(story: Story) -> None:
    state, session = story.victim.site.folder.path, story.victim.session
    listed = run("--dir", state, "sessions")
    assert "  published; left by this site for good (our data were withdrawn)\n" in listed.stdout, listed.stderr
    (facts,) = json.loads(run("--dir", state, "sessions", "--json").stdout)
    assert (facts["left"], facts["joined"]) == (True, False)
    dry = run("--dir", state, "join", session[7:19], "--data", story.victim.resources.data, "--dry-run", "--no-timing")
    assert (dry.returncode, dry.stdout) == (1, "")
    assert dry.stderr == (
        f"error: session {session[7:19]}: we left the session: our data were withdrawn; a session that was left cannot be "
        "joined again\n"
    )
    page = run("--dir", state, "report", session[7:19])
    assert page.stderr == (
        f"error: session {session[7:19]}: this site left it (our data were withdrawn), so its result is not here and `join` "
        "fetches none; if the others published one, ask the lead for it: `vdb-audit verify RESULT --root "
        f"{story.victim.site.config.root_fingerprint}` checks it\n"
    )


def test_the_journal_says_that_the_others_finished(story: Story) -> None:
    done = run("--dir", story.victim.site.folder.path, "journal", "verify", story.whole.folder / "result.vdbb")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  Abort ")]
    assert line.endswith("bytes: why we left; the others finished without us, and no bundle has it")


def test_that_it_was_left_is_known_from_every_record_on(whole: Institution, tmp_path: Path) -> None:
    """Also before the session has ended for us, and of who had not joined yet: of such a one the result is fetched."""
    done = {item.name: item.value for item in of(whole)}
    assert left_of(done) is None
    told = Told()
    early, late = cut(whole, 1, tmp_path / "early"), cut(whole, 3, tmp_path / "late")
    for victim in (early, late):
        leave_session(victim.site, cast(Link, told), victim.session, "why")
    assert left(early.site.folder, early.session) == Left("why", told=False)
    assert left(late.site.folder, late.session) == Left("why", told=True)
    found = {item.name: item.value for item in of(late)}
    again = f"{records.WE_LEFT}why{records.NEVER_AGAIN}".encode()
    assert left_of(found | {records.OUTCOME: again}) == Left("why", told=True)
    assert left_of({name: value for name, value in found.items() if name != records.OUTCOME}) == Left("why", told=True)
    assert left_of(found | {records.OUTCOME: b"seat 2: a lie"}) == Left("seat 2: a lie", told=True)
    assert left(early.site.folder, f"sha256:{'0' * 64}") is None


def leave(victim: Institution, session: str = "") -> None:
    wish = standing.Wish(session or victim.session, "why", yes=True)
    standing.leave(victim.site.folder, no_passphrase, wish)


def test_a_site_that_waits_for_its_hours_says_so(
    whole: Institution, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    length = next(number for number, item in enumerate(of(whole), start=1) if item.name == records.SEAL_RECEIVED)
    site = cut(whole, length, tmp_path / "state")
    policy, now = site.site.folder.policy, datetime.now().astimezone()
    closed = (now + timedelta(hours=2)).strftime("%H:00"), (now + timedelta(hours=3)).strftime("%H:00")
    policy.write_text(policy.read_text() + f'\ngpu_hours = ["daily {closed[0]}-{closed[1]}"]\n')
    words = "no model runs here now: policy.toml allows it from "
    standing.show(site.site.folder, "", as_json=False)
    assert words not in capsys.readouterr().out, "nobody works on it"
    with closing(FileStorage(site.folder / "journal")):
        standing.show(site.site.folder, "", as_json=False)
        shown = capsys.readouterr().out
    assert words in shown
    assert f" {closed[0]} " in shown[shown.index(words) :]


def test_who_works_on_it_is_seen(whole: Institution, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = cut(whole, 4, tmp_path / "state")
    with closing(FileStorage(victim.folder / "journal")):
        standing.show(victim.site.folder, "", as_json=False)
        assert "by a process that works on it now" in capsys.readouterr().out
        with pytest.raises(StoreError, match="the agent works on it now; stop it first"):
            leave(victim)
    with pytest.raises(UsageError, match="nobody consented to such a session here"):
        leave(victim, "ffff")
    with pytest.raises(UsageError, match="nobody consented to such a session here"):
        standing.show(victim.site.folder, "ffff", as_json=False)
