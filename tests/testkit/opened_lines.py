"""An institution of a made-up session that kept a list of what it measured, and an auditor that asks it for lines."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from testkit.bundles import SmallSession, logged, small_session
from testkit.logs import MadeLog
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS, Twist
from vdb_participant.session.proving import Frames, OwnResult, Question, answer, open_lines, own_result
from vdb_participant.session.samples import KeptSamples
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.spot_check import Asked, check_opening, check_samples
from vdb_shared.audit.spot_report import SampleReport
from vdb_shared.bundle.logged import OpenedRecord, encode_record
from vdb_shared.bundle.sample_choice import SampleChoice, ShownEntry, choice_of
from vdb_shared.bundle.sample_file import SampleOpening
from vdb_shared.bundle.samples import Failure
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.canonical import digest_string, labelled_hash, sha256_digest
from vdb_shared.labels import HASH_CLIP
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, checked_work, public_tasks, shard
from vdb_shared.transparency.checkpoint import parse_checkpoint, sign_checkpoint
from vdb_shared.transparency.merkle import consistency_proof, inclusion_proof, leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.tiles import TiledLog

INSTITUTION = "lab-kyoto"
SEAT = INSTITUTIONS.index(INSTITUTION)
MADE = "2026-03-01T09:00:00Z"
AUDITOR = "office-of-audits"


def frames_of(words: str, number: int) -> Frames:
    """Return made-up frames that follow from their words, uint8 (2, 3, 4, 3)."""
    seed = hashlib.sha256(f"{words} {number}".encode()).digest()
    return np.resize(np.frombuffer(seed, dtype=np.uint8), (2, 3, 4, 3))


def digest_of(frames: Frames) -> str:
    """Return the digest of a clip, as the definition of it says (§7.4)."""
    shape = b"".join(size.to_bytes(4, "little") for size in frames.shape[:3])
    return digest_string(labelled_hash(HASH_CLIP, shape, frames.tobytes()))


def sample_of(side: str, task: ClipTask, failure: str = "") -> dict[str, Any]:
    """Return what a site keeps of a clip."""
    clip = "" if failure else digest_of(frames_of(task.prompt, task.sample))
    return {
        "side": side,
        "model": task.model,
        "prompt": task.prompt,
        "number": task.sample,
        "clip": clip,
        "shares": sha256_digest(repr(task).encode()),
        "failure": failure,
    }


def measured(spec: Spec, private: int = 20) -> list[dict[str, Any]]:
    """Return what `INSTITUTION` measured: its public share, clips that count elsewhere, private ones, reference clips."""
    sites = len(INSTITUTIONS)
    found = [sample_of("public", task) for task in shard(public_tasks(spec), SEAT, sites)]
    found += [sample_of("second", item.task) for item in checked_work(spec, SEAT, sites) if not item.counted]
    words = [f"patient {number} walks" for number in range(private)]
    found += [
        sample_of("private", ClipTask(model.id, prompt, 0), "" if number % 7 != 4 else Failure.ENDED.value)
        for model in spec.models
        for number, prompt in enumerate(words)
    ]
    return found + [sample_of("reference", ClipTask("clips", f"{number}.mp4", 0)) for number in range(private)]


def kept_list(private: int = 20, secret: bytes = bytes(range(32))) -> KeptSamples:
    """Return the list of `INSTITUTION`."""
    return KeptSamples(secret, measured(small_spec(), private))


def shown(sample: Any) -> Frames | None:
    """Return the frames of a kept sample."""
    return frames_of(sample["prompt"], sample["number"]) if sample["clip"] else None


def entry_of(session: str) -> bytes:
    """Return the log's entry of the opening of another session, named by a word."""
    digest = sha256_digest(session.encode())
    record = OpenedRecord(session=digest, spec=digest, roster=digest, opened=MADE, due="2026-03-02T09:00:00Z")
    return encode_record(record)


@dataclass(frozen=True)
class Story:
    """A published result, the list of one of its institutions, and the log some time later.

    Attributes:
        kept: the list that the institution committed to.
        seed: of the session.
        later: entries of the log after the result's.
    """

    kept: KeptSamples
    seed: object = 0
    later: tuple[bytes, ...] = field(default_factory=lambda: tuple(map(entry_of, ("second", "third", "fourth"))))

    @cached_property
    def session(self) -> SmallSession:
        """The session, in which the institution's contribution names its list."""
        return small_session(self.seed, twist=Twist(RunManifest, "sample_root", self.kept.root, INSTITUTION))

    @cached_property
    def result(self) -> OwnResult:
        """What the institution has of the result."""
        return own_result(self.session.bundle(), INSTITUTION, self.session.root)

    @property
    def log(self) -> MadeLog:
        """The consortium's log as it is now."""
        before = logged(self.session)
        return MadeLog(before.consortium, before.signer, [*before.entries, *self.later])

    def choice(self, log: MadeLog | None = None) -> SampleChoice:
        """Return what a log chooses, as an auditor reads it."""
        files = (log or self.log).files()
        note = parse_note(files["checkpoint"])
        tiles = TiledLog(parse_checkpoint(note.text), lambda path: files[path])
        return choice_of(tiles, files["checkpoint"], self.result.place)

    @property
    def choice_size(self) -> int:
        """Entries of the log in the state that chooses."""
        return len(logged(self.session).entries) + 1

    def question(self, count: int = 12, *, clips: bool = False, choice: bytes | None = None) -> Question:
        """Return what the institution is asked."""
        return Question(self.choice().encode() if choice is None else choice, count, AUDITOR, shown if clips else None)

    def opened(self, question: Question) -> tuple[SampleOpening, dict[int, bytes]]:
        """Return what an honest institution opens."""
        return open_lines(self.result, self.kept, question, MADE)

    def file(self, question: Question) -> bytes:
        """Return an honest answer."""
        return answer(*self.opened(question), question, self.session.key(SEAT))

    def signed(self, opening: SampleOpening, clips: dict[int, bytes], choice: bytes | None = None) -> bytes:
        """Return an answer with whatever contents, signed by the institution all the same."""
        return answer(opening, clips, self.question(choice=choice), self.session.key(SEAT))

    @cached_property
    def _evidence(self) -> Evidence:
        return Evidence(self.session.bundle(), self.session.root, DEFAULT_POLICY, draft=False)

    def check(self, file: bytes, **asked: Any) -> SampleReport:
        """Return what an auditor says of an answer to a result that it has audited already."""
        return check_opening(self._evidence, file, replace(Asked(12, self.session.root), **asked))

    def check_all(self, file: bytes, **asked: Any) -> SampleReport:
        """Return what an auditor says of an answer, and of the result before."""
        return check_samples(self.session.bundle(), file, replace(Asked(12, self.session.root), **asked))


def own_checkpoint(story: Story, log: MadeLog) -> bytes:
    """Return a checkpoint of a log signed by the institution, which is not its keeper."""
    return sign_checkpoint(log.checkpoint, story.session.key(SEAT)).to_bytes()


def root_of(entries: list[bytes]) -> bytes:
    """Return the root of a log with these entries."""
    return tree_root(len(entries), of_leaves([leaf_hash(entry) for entry in entries]))


def growth_of(entries: list[bytes], old: int, size: int) -> tuple[bytes, ...]:
    """Return the proof that a log with `size` of these entries grew from the one with `old`."""
    return tuple(consistency_proof(old, size, of_leaves([leaf_hash(entry) for entry in entries[:size]])))


def shown_of(entries: list[bytes], start: int, size: int) -> tuple[ShownEntry, ...]:
    """Return the entries of a log from an index to a size, each with the proof that it stands there."""
    complete = of_leaves([leaf_hash(entry) for entry in entries[:size]])
    return tuple(
        ShownEntry(entries[index], tuple(inclusion_proof(index, size, complete))) for index in range(start, size)
    )
