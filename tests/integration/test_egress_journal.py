"""What left a site, as its egress journal says, is what a proxy between it and the coordinator saw: no byte more, none less.

The proxy of `testkit.wiretap` ends TLS and keeps what the coordinator receives. Compared are messages as gRPC frames them
(five bytes of head and the message): the contents of all HTTP/2 DATA frames. What lies around them, HTTP/2's other frames,
headers and TLS, the journal does not count, and says so.
"""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.coordinator import running_coordinator
from testkit.institutions import Institution, write_site
from testkit.sessions import SITES, Runs, consortium, run_with_failpoint
from testkit.wiretap import HEAD, Wiretap, messages_in
from vdb_participant.session.departures import compare
from vdb_participant.site.egress_format import Reading, encode_line, read_egress
from vdb_shared.canonical import sha256_digest

TAPPED = 2
"""Seat whose connection is recorded."""


@dataclass(frozen=True)
class Taken:
    """A finished session, one of whose institutions spoke through the proxy."""

    tap: Wiretap
    institution: Institution
    bundle: Path

    @property
    def journal(self) -> Reading:
        return self.institution.site.egress.read()


def session_through_a_tap(path: Path, failpoint: str = "") -> Taken:
    """Run a session; with a failpoint the tapped institution is killed there once and started again."""
    with running_coordinator(path / "lead", institutions=SITES) as coordinator:
        institutions = consortium(coordinator, path)
        identity = coordinator.identities[TAPPED]
        tap = Wiretap(coordinator, identity, path / "tap")
        site = write_site(path / "tapped", identity, tap.address)
        tapped = Institution(site, institutions[TAPPED].resources, institutions[TAPPED].session)
        runs = Runs()
        runs.start(*(other for other in institutions if other is not institutions[TAPPED]))
        if failpoint:
            assert run_with_failpoint(tapped, failpoint) == -signal.SIGKILL
        runs.start(tapped)
        runs.join()
        tap.close()
        assert not runs.errors
    return Taken(tap, tapped, runs.outcomes[site.config.institution].bundle)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    return session_through_a_tap(tmp_path_factory.mktemp("egress"))


def test_the_journal_is_what_the_proxy_saw_to_the_byte(taken: Taken) -> None:
    seen = [message for stream in taken.tap.streams for message in messages_in(stream)]
    left = [entry.departure for entry in taken.journal.entries if entry.departure.kind == "message"]
    assert Counter((item.size, item.digest) for item in left) == Counter(
        (len(message), sha256_digest(message)) for message in seen
    )
    assert sum(HEAD + item.size for item in left) == sum(map(len, taken.tap.streams))
    assert {item.address for item in left} == {taken.tap.address}


def test_after_a_crash_the_journal_lacks_nothing_that_the_proxy_saw(tmp_path: Path) -> None:
    """It may name a message that was recorded and never sent, and it still shows all that the bundle has of this site."""
    killed = session_through_a_tap(tmp_path, "after-masked-input=kill")
    seen = Counter(sha256_digest(message) for stream in killed.tap.streams for message in messages_in(stream))
    left = Counter(entry.departure.digest for entry in killed.journal.entries if entry.departure.kind == "message")
    assert seen <= left
    found = compare(killed.journal.entries, killed.bundle.read_bytes(), killed.institution.site.config.institution)
    assert {claim.name for claim in found.claims if not claim.entries} == set()
    assert "masked vector" in {claim.name for claim in found.claims}


def test_messages_of_one_call_stand_in_their_order(taken: Taken) -> None:
    left = [entry.departure for entry in taken.journal.entries if entry.departure.what.endswith("/UploadMaskedInput")]
    (upload,) = [found for stream in taken.tap.streams if len(found := messages_in(stream)) > 1]
    assert [item.digest for item in left] == [sha256_digest(message) for message in upload]


def test_verify_finds_all_that_the_bundle_says_of_this_site(taken: Taken) -> None:
    state = taken.institution.site.folder.path
    done = run("--dir", state, "journal", "verify", taken.bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    found = [line.removeprefix("PASS  ").split(":")[0] for line in lines if line.startswith("PASS  ")]
    assert found[:7] == [
        "chain",
        "join",
        "keys of round 0",
        "header of round 1",
        "header of round 2",
        "contribution statement",
        "masked vector",
    ]
    # Of these a result needs a quorum only, which may be complete without this site.
    assert set(found[7:]) <= {
        "signature of the survivor set",
        "countersignature",
        "cosignature of the log in open.proof",
        "cosignature of the log in result.proof",
    }
    rest = "\n".join(lines)
    for expected in ("UploadMaskedInput chunk", "ShareKeys sealed.ciphertext", "RevealShares shares.body", "GetBundle"):
        assert re.search(rf"^  {re.escape(expected)} ", rest, re.MULTILINE), rest
    assert not re.search(r"not known", rest)


def test_the_plan_named_the_sizes_that_then_left(taken: Taken) -> None:
    """Nobody dropped out, so that all the plan allows for left; the vector is the sum of its chunks."""
    (plan,) = taken.institution.plans
    entries = [entry.departure for entry in taken.journal.entries]
    (vector,) = [left for left in entries if left.kind == "vector"]
    text = " ".join(plan.text.split())
    assert f"what checks their sum ({vector.size:,} bytes)" in text
    assert f"Leaves {vector.size:,} bytes of masked sums, shares of keys and" in text
    parts = [(left.what.rpartition("/")[2], part) for left in entries for part in left.parts if left.kind == "message"]
    assert sum(part.size for _, part in parts if part.path == "chunk") == vector.size
    sealed = [part.size for call, part in parts if call == "ShareKeys" and part.path.endswith("ciphertext")]
    assert (
        f"{sealed[0]} bytes each, sealed so that it alone can open them: at most {sum(sealed)} bytes for {len(sealed)}."
        in text
    )
    (revealed,) = [part.size for call, part in parts if call == "RevealShares" and part.path == "shares.body"]
    assert f"not sealed: 68 bytes and 36 for each, at most {revealed}." in text


def test_a_forged_journal_is_not_the_one_of_the_bundle(taken: Taken, tmp_path: Path) -> None:
    """Who writes the chain anew without a message has a chain that is whole, and a bundle that contradicts it."""
    missing = relinked(taken.journal, without="/vdb.v1.SessionService/Join")
    (tmp_path / "egress.jsonl").write_bytes(missing)
    (tmp_path / "config.json").write_bytes(taken.institution.site.folder.config.read_bytes())
    done = run("--dir", tmp_path, "journal", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("--dir", tmp_path, "journal", "verify", taken.bundle)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("FAIL")] == [
        "FAIL  join: the bundle has it, and no entry of this journal does"
    ]


def relinked(reading: Reading, *, without: str) -> bytes:
    """Return a journal without the messages of one method, its chain made anew."""
    data, previous = b"", "sha256:" + "0" * 64
    kept = [entry for entry in reading.entries if entry.departure.what != without]
    for number, entry in enumerate(kept):
        again = replace(entry, sequence=number, previous=previous)
        data, previous = data + encode_line(again), again.digest
    assert len(read_egress(data).entries) < len(reading.entries)
    return data


def test_show_and_export(taken: Taken, tmp_path: Path) -> None:
    state = taken.institution.site.folder.path
    session = taken.institution.session
    shown = run("--dir", state, "journal", "show", "--session", session[7:19])
    assert shown.returncode == 0, shown.stderr
    assert "SessionService/Join" in shown.stdout
    as_json = json.loads(run("--dir", state, "journal", "show", "--json").stdout)
    assert len(as_json["entries"]) == len(taken.journal.entries)
    assert as_json["head"] == taken.journal.head
    out = tmp_path / "copy.jsonl"
    assert run("--dir", state, "journal", "export", out).returncode == 0
    assert out.read_bytes() == taken.institution.site.folder.egress.read_bytes()
    again = run("--dir", state, "journal", "export", out)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert run("--dir", state, "journal", "verify", "--head", taken.journal.entries[3].digest).returncode == 0
    other = run("--dir", state, "journal", "verify", "--head", "sha256:" + "ab" * 32)
    assert other.returncode == 1
