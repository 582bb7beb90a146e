"""`doctor`: everything a participation needs, looked at one by one, each with the fix.

Promises that no check changes anything but the record of what left (`journal show`), and that one failing check does not keep
the others from running. Leaves the machine to `machine.py` and the way to the coordinator to `connecting.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from vdb_participant.commands.connecting import examine_connection
from vdb_participant.commands.findings import Finding, Status, tried
from vdb_participant.commands.machine import GIB, disk, examine_machine
from vdb_participant.commands.spec_file import read_spec
from vdb_participant.models import CONDITIONS
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.keys import Passphrase
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.policy import check_models, check_policy, read_policy
from vdb_shared.clips import clip_terms
from vdb_shared.errors import UsageError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Model, Spec
from vdb_shared.tasks import checked_count
from vdb_shared.wording import counted

__all__ = ["Finding", "Status", "Subject", "examine"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: state folder, passphrase for its keys, and models, data and a spec if they were named."""

    folder: StateFolder
    passphrase: Passphrase
    models: Path | None = None
    data: Path | None = None
    spec: Path | None = None


def examine(subject: Subject) -> Iterator[Finding]:
    """Yield the findings one by one, the quick ones first."""
    folder = subject.folder
    yield from examine_machine(folder.path)
    yield tried("enrolment", lambda: _enrolment(folder))
    yield _unfinished(folder)
    yield tried("policy", lambda: _policy(folder))
    yield tried("egress journal", lambda: _egress(folder))
    if folder.config.exists():
        yield tried("privacy ledger", lambda: _ledger(folder))
        yield from examine_connection(folder, subject.passphrase)
    if subject.models is not None:
        yield from _models(subject.models)
    if subject.data is not None:
        yield tried("data", lambda: _data(subject.data))
    if subject.spec is not None:
        yield from _spec(subject, subject.spec)


def _enrolment(folder: StateFolder) -> Finding:
    config = read_config(folder)
    return Finding(
        Status.PASS, "enrolment", f"{config.institution} in consortium {config.consortium} at {config.address}"
    )


def _unfinished(folder: StateFolder) -> Finding:
    """Clips begun and not finished go on with their next session; those of a session that is over wait for nothing."""
    sizes = [path.stat().st_size for path in folder.clips.glob("??/*.steps")]
    if not sizes:
        return Finding(Status.PASS, "unfinished clips", "none")
    words = f"{len(sizes)}, whose steps take {sum(sizes) / GIB:.1f} GiB"
    return Finding(
        Status.PASS, "unfinished clips", f"{words}; when no session needs them, delete {folder.clips}/*/*.steps"
    )


def _ledger(folder: StateFolder) -> Finding:
    with Ledger(folder.ledger) as ledger:
        chain = ledger.verify()
    sets = len({entry.charge.dataset for entry in chain})
    size = f"{counted(len(chain), 'entry', 'entries')} of {counted(sets, 'data set')}"
    return Finding(Status.PASS, "privacy ledger", f"{size}, chain unbroken; `budget` shows what is left")


def _egress(folder: StateFolder) -> Finding:
    reading = EgressJournal(folder.egress).read()
    size = counted(len(reading.entries), "entry", "entries")
    words = f"{size}, chain unbroken; `journal show` lists what left; head {reading.head}"
    return Finding(Status.PASS, "egress journal", words)


def _models(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding(Status.FAIL, "models", f"{folder}: no such folder; check --models")
        return
    for place in sorted(item for item in folder.iterdir() if item.is_dir() and item.name != CONDITIONS):
        yield tried(f"weights {place.name}", partial(_weights, place))
    if (folder / CONDITIONS).is_dir():
        yield tried(CONDITIONS, lambda: _conditions(folder))


def _weights(place: Path) -> Finding:
    from vdb_participant.models import (  # noqa: PLC0415 (imported when it is needed: loading it takes long)
        inspect_weights,
        script_in,
    )

    return Finding(Status.PASS, f"weights {place.name}", inspect_weights(place, script_in(place)).manifest)


def _conditions(models: Path) -> Finding:
    from vdb_participant.data.conditions import condition_files, verify_condition  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    files = condition_files(models)
    for path in files:
        verify_condition(path, f"sha256:{path.stem}")
    return Finding(Status.PASS, CONDITIONS, f"{len(files)} pictures and videos, their names fit their bytes")


def _data(folder: Path | None) -> Finding:
    from vdb_participant.data.dataset import Dataset  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    if folder is None:
        raise ValueError("no data folder was named")
    found = Dataset.open(folder)
    usable = f"{counted(len(found.clips), 'clip')} and {counted(len(found.prompts), 'prompt')}"
    words = f"{usable} can be used, {counted(len(found.problems), 'item')} cannot"
    if found.problems:
        return Finding(Status.WARN, "data", f"{words}; `vdb-participant data check {folder}` says why")
    return Finding(Status.PASS, "data", words)


def _policy(folder: StateFolder) -> Finding:
    if not folder.policy.exists():
        return Finding(Status.WARN, "policy", f"{folder.policy}: not there yet; `vdb-participant enroll` writes one")
    policy = read_policy(folder.policy)
    words = f"epsilon {policy.epsilon_per_session} a session, {policy.epsilon_total} in all"
    if policy.hours is not None:
        now = "now too" if policy.hours.open_at(datetime.now(UTC)) else "not now"
        words += f"; models run {policy.hours.words}, {now}"
    return Finding(Status.PASS, "policy", words)


def _spec(subject: Subject, path: Path) -> Iterator[Finding]:
    """Yield what a spec needs: room for its clips, its models with the digests that it names, and a policy that allows it."""
    try:
        spec = read_spec(path)
    except UsageError as error:
        yield Finding(Status.FAIL, "spec", str(error))
        return
    yield tried("disk for the spec", lambda: _room(subject, spec))
    yield tried("policy for the spec", lambda: _allowed(subject.folder, spec))
    models = subject.models or subject.folder.models
    for model in spec.models:
        yield tried(f"model {model.id}", partial(_agreed_model, subject.folder, models, model))
    yield tried("extractors", lambda: _agreed_extractors(models, spec))


def _room(subject: Subject, spec: Spec) -> Finding:
    """Clips are kept losslessly; uncompressed pictures are the most that they can take, and few institutions the worst case."""
    registry = load_registry(subject.folder.registry)
    public = -(-len(spec.prompts) * spec.generation.samples // spec.cohort.minimum)
    private = _prompts(subject, spec)
    need = 0
    for model in spec.models:
        terms = clip_terms(spec, model, registry)
        clips = public + (private or 0) * spec.generation.samples
        need += clips * terms.frames * terms.height * terms.width * 3
    need += checked_count(spec) * spec.video.frames * spec.video.height * spec.video.width * 3
    found = disk(subject.folder.clips, need)
    if private is None and found.status is Status.PASS:
        words = f"{found.words}, those of private prompts not counted: name --data"
        return Finding(Status.WARN, "disk for the spec", words)
    return Finding(found.status, "disk for the spec", found.words)


def _prompts(subject: Subject, spec: Spec) -> int | None:
    """Return how many private prompts a spec would use, or None if no data were named."""
    if not any(metric.inputs == "private" for metric in spec.metrics):
        return 0
    if subject.data is None:
        return None
    from vdb_participant.data.dataset import Dataset  # noqa: PLC0415 (imported when it is needed: loading it takes long)
    from vdb_participant.data.inputs import inputs_of  # noqa: PLC0415 - likewise

    found = inputs_of(spec, Dataset.open(subject.data, frames=spec.video.frames))
    return max(len(found.prompts), len(found.captioned))


def _allowed(folder: StateFolder, spec: Spec) -> Finding:
    policy = read_policy(folder.policy)
    check_policy(policy, spec)
    check_models(policy, spec, load_registry(folder.registry))
    return Finding(Status.PASS, "policy for the spec", "allows this spec")


def _agreed_model(folder: StateFolder, models: Path, model: Model) -> Finding:
    from vdb_participant.models import verify_model  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    found = verify_model(model, models, load_registry(folder.registry))
    return Finding(Status.PASS, f"model {model.id}", f"{found.manifest[:19]}, as the spec says")


def _agreed_extractors(models: Path, spec: Spec) -> Finding:
    from vdb_participant.models import verify_extractors  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    found = verify_extractors(spec, models, {extractor.id for extractor in spec.extractors})
    return Finding(Status.PASS, "extractors", f"{len(found)}, all as the spec says")
