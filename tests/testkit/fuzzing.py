"""Fuzzing of the verifier's parsers: nothing but declared errors, whatever bytes come in.

    PYTHONPATH=tests python -m testkit.fuzzing [--seconds 600] [--seed 1] [--parser NAME]… [--keep]

Feeds every parser in turn with damaged good inputs, and the whole audit with bundles whose fields were changed and signed
again by everybody. Inputs that lead to lines of the product which none led to before become good ones for the rest of the
run; with --keep they are written to tests/golden/corpus. Prints each problem with the input that shows it, and returns 1 if
there was one. An answer that takes longer than its share of time, or more memory than a machine has, is a problem too.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final

from testkit.conspiracy import Trees, conspire
from testkit.damage import VALUES, damaged
from testkit.golden import FATES, FOLDER, golden_session
from testkit.opened_lines import Story, kept_list
from testkit.parsers import PARSERS, STAMPED, STATEMENTS, Parser, time_authority
from testkit.small_specs import SPEC as SPEC_TOML
from testkit.statements import make_roster
from testkit.time_authority import BORN
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import (
    AbortedRecord,
    ObjectionRecord,
    OpenedRecord,
    PublishedRecord,
    RevokedRecord,
    WithdrawalRecord,
    encode_record,
)
from vdb_shared.bundle.record import BLINDERS, RESTARTS, ROSTER, SPEC, TARGETS, TRANSCRIPT, decode_transcript
from vdb_shared.bundle.statement import Abort, Statement
from vdb_shared.canonical import encode_fields
from vdb_shared.identity import StatementKey
from vdb_shared.secagg.messages import Complaint, UnmaskingShares
from vdb_shared.transparency.checkpoint import Checkpoint, sign_checkpoint
from vdb_shared.transparency.merkle import inclusion_proof, leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import ED25519, NoteKey
from vdb_shared.transparency.proof import LogProof
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, encode_entries, grown_files

CORPUS: Final = FOLDER / "corpus"

LONGEST_KEPT: Final = 3000
"""Bytes of an input that is kept."""

SLOW: Final = 10.0
"""Seconds of computing after which an answer is a problem: a hundred times what the slowest good input takes."""

MEMORY: Final = 4 * 2**30

AUDIT: Final = "audit"
"""Name of what is no parser of bytes: whole audits of bundles that everybody signed."""

DIGEST: Final = "sha256:" + "5" * 64
_TIME: Final = "2026-01-31T12:00:00Z"
_SALT: Final = "5a" * 32


@cache
def seeds() -> Mapping[str, tuple[bytes, ...]]:
    """Return good inputs by parser."""
    session = golden_session("restarted")
    members = session.members
    statements: dict[str, list[bytes]] = {name: [] for name in STATEMENTS}
    for name, data in members.items():
        if name.endswith(".dsse.json") and not name.startswith("survivors"):
            payload = Envelope.from_json(data).payload
            kind = next(kind for kind, predicate in STATEMENTS.items() if predicate.type_uri().encode() in payload)
            statements[kind].append(payload)
    abort = Abort(session=DIGEST, institution="lab-kyoto", stage="joining", reason="too few", aborted=_TIME)
    statements["abort"].append(Statement((), abort).encode())
    for file in sorted((FOLDER / "disputed" / "statements").iterdir()):
        statements[file.name.split("-")[0].split(".")[0]].append(Envelope.from_json(file.read_bytes()).payload)
    rounds = decode_transcript(members[TRANSCRIPT])
    advertised, shared, masked = (tuple(signed.body for signed in messages.values()) for messages in rounds)
    roster = make_roster("golden")
    documents = tuple(data for name, data in members.items() if name.endswith(".json"))
    return {
        "bundle": (*(golden_session(name).bundle() for name in FATES), golden_session("dropout").full()),
        "archive": (session.edited(dict.fromkeys(list(members)[2:])),),
        "canonical-json": tuple(data for data in documents if len(data) < LONGEST_KEPT),
        "envelope": tuple(data for name, data in members.items() if name.endswith(".dsse.json")),
        **{f"statement-{name}": tuple(found) for name, found in statements.items()},
        "transcript": (members[TRANSCRIPT],),
        "restarts": (members[RESTARTS], b"[]"),
        "body-advertised-keys": advertised,
        "body-shared-keys": shared,
        "body-masked-input": masked,
        "body-complaint": (Complaint(bytes(32), 1, 2).encode(),),
        "body-consistency": (Envelope.from_json(members["survivors.dsse.json"]).payload,),
        "body-unmasking": (UnmaskingShares(bytes(32), 1, {0: 1, 2: 2}, {3: 3}).encode(),),
        "fields": (encode_fields(b"", b"x", bytes(40)),),
        "scalars": (members[BLINDERS],),
        "roster": (members[ROSTER],),
        "signed-roster": (encode_fields(roster.roots[0], members[TARGETS], members[ROSTER]),),
        "spec-json": (members[SPEC],),
        "spec-toml": (_toml(),),
        "policy": (b'version = "vdb-audit-policy/1"\nmaximum_epsilon = 2.5\nminimum_cohort = 10\n', _policy()),
        "decimal": (b"0.25", b"-1.5e-7", b"0", b"1e+22"),
        "base64": (b"AAAA", b"/+8=", b"AQ==", b""),
        **_of_log(),
        **_of_samples(),
    }


def _of_samples() -> Mapping[str, tuple[bytes, ...]]:
    """Return good inputs of the parsers of spot checks."""
    story = Story(kept_list())
    short, shown = story.file(story.question(3)), story.file(story.question(12, clips=True))
    return {
        "samples-line": story.kept.lines()[:40:8],
        "samples-choice": (story.choice().encode(),),
        "samples-file": (short, shown),
        "samples-check": (short, shown),
    }


def _toml() -> bytes:
    return re.sub(r"sha256:[A-Z_]+", DIGEST, SPEC_TOML).encode()


def _policy() -> bytes:
    return f'root = "{DIGEST}"\nmaximum_delta = {DEFAULT_POLICY.maximum_delta}\nminimum_collusion = 2\n'.encode()


def _of_log() -> dict[str, tuple[bytes, ...]]:
    """Return good inputs of the parsers of a log: one of 260 entries, which has a full tile and a partial one."""
    names = ("archive-oslo", "clinic-lyon", "lab-kyoto")
    records = (
        OpenedRecord(session=DIGEST, spec=DIGEST, roster=DIGEST, opened=_TIME, due=_TIME),
        PublishedRecord(
            session=DIGEST,
            result=DIGEST,
            published=_TIME,
            survivors=names,
            rho=Decimal("0.5"),
            delta=Decimal("1e-6"),
        ),
        AbortedRecord(session=DIGEST, abort=DIGEST, stage="joining", aborted=_TIME, salt=_SALT),
        RevokedRecord(institution="lab-kyoto", key="5" * 64, reason="left", revoked=_TIME, salt=_SALT),
        ObjectionRecord(
            session=DIGEST, result=DIGEST, objector="lab-kyoto", objection=DIGEST, received=_TIME, salt=_SALT
        ),
        WithdrawalRecord(
            session=DIGEST, result=DIGEST, withdrawal=DIGEST, superseded_by=DIGEST, withdrawn=_TIME, salt=_SALT
        ),
    )
    entries = [encode_record(record) for record in records] + [b"x" * (number % 7) for number in range(256)]
    leaves = [leaf_hash(entry) for entry in entries]
    complete = of_leaves(leaves)
    key = StatementKey.from_seed(b"l" * 32)
    checkpoint = Checkpoint("testbed/vdb-log", len(entries), tree_root(len(entries), complete))
    note = sign_checkpoint(checkpoint, key)
    path = tuple(inclusion_proof(2, len(entries), complete))
    files = [(CHECKPOINT_PATH, checkpoint.text.encode()), *grown_files(0, entries, leaves)]
    return {
        "note": (note.to_bytes(),),
        "note-key": (str(NoteKey("testbed/vdb-log", ED25519, key.public_key.raw)).encode(),),
        "checkpoint": (checkpoint.text.encode(),),
        "proof": (LogProof(2, path, note.to_bytes()).to_bytes(),),
        "time-stamp": (time_authority().stamp(STAMPED, BORN),),
        "tsa-roots": (time_authority().roots,),
        "log-entries": (encode_entries(entries[:5]),),
        "log": (encode_fields(*(part for name, data in files for part in (name.encode(), data))),),
        "log-record": tuple(encode_record(record) for record in records),
    }


def corpus_of(name: str) -> list[bytes]:
    """Return what is kept for a parser."""
    return [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))]


def audit_problem(dice: random.Random) -> str:
    """Return what is wrong with an audit of a bundle in which one value is another and everything is signed again, or ""."""
    session = golden_session(dice.choice(tuple(FATES)))
    where: list[str] = []

    def edit(trees: Trees) -> None:
        name = dice.choice(sorted(trees))
        where.append(name)
        holder: Any = trees
        step: Any = name
        while isinstance(holder[step], dict | list) and holder[step] and dice.random() < 0.9:
            holder = holder[step]
            step = dice.choice(list(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
            where.append(str(step))
        if isinstance(holder[step], str) or where[0].endswith("metrics.json"):
            holder[step] = dice.choice(VALUES)
        elif isinstance(holder[step], int):
            holder[step] = dice.choice([value for value in VALUES if isinstance(value, int) and 0 <= value < 2**32])

    try:
        data = conspire(session, edit, tuple(range(5)))
    except Exception:  # a value that the forger itself cannot write
        return ""
    try:
        verify(data, root=session.root).to_json()
    except Exception as error:  # any error is what is looked for
        return f"raises {type(error).__name__} on another {'.'.join(where)}: {error}"[:300]
    return ""


@dataclass
class Run:
    """One run.

    Attributes:
        dice: chooses.
        keep: whether to write inputs that reached new lines.
        inputs: good ones and those that reached new lines, by parser.
        lines: of the product that were reached.
        tried: inputs, by parser.
        problems: found.
    """

    dice: random.Random
    keep: bool
    inputs: dict[str, list[bytes]] = field(default_factory=dict)
    lines: set[tuple[str, str, int]] = field(default_factory=set)
    tried: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def feed(self, name: str) -> None:
        """Feed a parser, or the whole audit, with one damaged input."""
        self.tried[name] = self.tried.get(name, 0) + 1
        if name != AUDIT:
            self._feed_parser(name, PARSERS[name])
        elif problem := audit_problem(self.dice):
            self.problems.append(f"{AUDIT}: {problem}")

    def watch_good_inputs(self, name: str) -> None:
        """Note which lines the good inputs of a parser reach."""
        for data in [*seeds().get(name, ()), *corpus_of(name)]:
            self._watched(name, PARSERS[name], data)

    def _feed_parser(self, name: str, parser: Parser) -> None:
        known = self.inputs.setdefault(name, [*seeds()[name], *corpus_of(name)])
        data = damaged(self.dice.choice(known), self.dice, known)
        problem, fresh = self._watched(name, parser, data)
        if problem:
            self.problems.append(f"{name}: {problem}; input {data[:200].hex()}")
        if fresh and len(data) <= LONGEST_KEPT:
            known.append(data)
            if self.keep:
                folder = CORPUS / name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)

    def _watched(self, name: str, parser: Parser, data: bytes) -> tuple[str, bool]:
        before, started = len(self.lines), time.process_time()

        def local(frame: FrameType, event: str, _argument: Any) -> Any:
            if event == "line":
                self.lines.add((name, frame.f_code.co_filename, frame.f_lineno))
            return local

        sys.settrace(lambda frame, _event, _argument: local if "vdb_shared" in frame.f_code.co_filename else None)
        try:
            problem = parser.problem(data)
        finally:
            sys.settrace(None)
        seconds = time.process_time() - started
        if seconds > SLOW:
            problem = problem or f"takes {seconds:.0f} seconds for {len(data)} bytes"
        return problem, len(self.lines) > before


def damaged_inputs(name: str, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged inputs of a parser, the same for the same seed."""
    dice = random.Random(f"{name}/{seed}")  # noqa: S311  # damage, no secrets
    known = [*seeds()[name], *corpus_of(name)]
    for _ in range(count):
        yield damaged(dice.choice(known), dice, known)


def main() -> int:
    """Fuzz for a while; return 1 when something else than a declared error came up."""
    parser = argparse.ArgumentParser(description="Feed the verifier's parsers with damaged inputs.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parser", action="append", choices=[*PARSERS, AUDIT], help="all, if none is named")
    parser.add_argument("--keep", action="store_true", help=f"write inputs that reach new lines to {Path(CORPUS).name}")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run = Run(random.Random(chosen.seed), chosen.keep)  # noqa: S311  # damage, no secrets
    names = chosen.parser or [*PARSERS, AUDIT]
    for name in names:
        run.watch_good_inputs(name)
    end = time.monotonic() + chosen.seconds
    while time.monotonic() < end:
        for name in names:
            run.feed(name)
    for name, tried in run.tried.items():
        reached = sum(line[0] == name for line in run.lines)
        sys.stdout.write(f"{name:<24} {tried:>8} inputs, {reached:>6} lines reached\n")
    sys.stdout.writelines(f"{problem}\n" for problem in run.problems)
    return 1 if run.problems else 0


if __name__ == "__main__":
    sys.exit(main())
