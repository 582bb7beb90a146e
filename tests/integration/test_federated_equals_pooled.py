"""The federated number is the pooled number: a session without noise against one local run over all sites' data.

Real agents, real models, real video files, a real coordinator; the noise is off through the one switch that only a Python
caller reaches, and every audit of the bundle says so.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from testkit.coordinator import running_coordinator
from testkit.institutions import no_passphrase, write_site
from testkit.specs import without_noise
from testkit.tiny import tiny_spec
from vdb_participant.agent import Request, take_part
from vdb_participant.commands.local import run_locally
from vdb_participant.data.dataset import Dataset
from vdb_participant.embedded.scenes import write_site as write_clips
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session.measurement import measured_here
from vdb_participant.session.preparation import Resources
from vdb_participant.session.progress import Progress, silent
from vdb_participant.session.proving import Question, answer, open_lines, own_result
from vdb_participant.session.records import Consented, Measured
from vdb_participant.session.samples import SAMPLES_FILE, KeptSamples
from vdb_participant.session.shown_clips import ShownClips
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import Site, open_site
from vdb_participant.site.policy import policy_in
from vdb_participant.synthetic.models import build_all
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.log_files import open_log
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.spot_check import Asked, check_opening
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.sample_choice import choice_of
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import StoreError
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.mechanism import decode
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_tasks, public_tasks

SITES = 4
TIMED = ("latency@1", "frames-per-second@1")
"""Measured by a clock when a clip is made; two makings of one clip differ."""


@dataclass(frozen=True)
class Story:
    """What the session and the local run found."""

    spec: Spec
    bundle: bytes
    federated: Statistics
    models: Path
    union: Path
    stores: tuple[Path, ...]
    path: Path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    path = tmp_path_factory.mktemp("federated")
    build_all(path / "models")
    spec = tiny_spec(path / "models", prompts=("a red circle moving left", "a blue square bouncing", "a ring"))
    generation = spec.generation.model_copy(update={"private_share": Decimal("0.5"), "checked_share": Decimal("0.5")})
    spec = without_noise(spec.model_copy(update={"generation": generation}))
    with running_coordinator(path / "lead", institutions=SITES) as coordinator:
        session = coordinator.admin.create_session(spec)
        bundles: dict[int, bytes] = {}

        def join(number: int) -> None:
            identity = coordinator.identities[number]
            site = write_site(path / f"site{number}", identity, coordinator.address)
            _write_data(path / f"data{number}", number)
            resources = Resources(path / f"data{number}", path / "models", allow_unnoised=True)
            with Client(Connection(site.config.address, site.tls, site.egress)) as link:
                done = take_part(site, link, Request(session, resources, lambda _plan: None, measure=_one_at_a_time))
            bundles[number] = done.bundle.read_bytes()

        threads = [threading.Thread(target=join, args=[number]) for number in range(SITES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(bundles) == SITES, "an agent failed; its error is printed above"
        coordinator.admin.create_session(spec)  # an entry of the log after the result, which a spot check needs
        shutil.copytree(coordinator.home.log, path / "log")
    evidence = Evidence(bundles[0], root=None, policy=DEFAULT_POLICY, draft=False)
    union = _union(path, [path / f"data{number}" for number in range(SITES)])
    return Story(
        spec,
        bundles[0],
        decode(evidence.terms.layout, evidence.terms.calibration, evidence.totals),
        path / "models",
        union,
        tuple(path / f"site{number}" / "clips" for number in range(SITES)),
        path,
    )


def _write_data(folder: Path, number: int) -> None:
    """Write clips with prompts that no other site has: in one folder, equal prompts would count as one."""
    write_clips(folder, site=number, clips=8 + number)
    prompts = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    lines = [json.dumps(item | {"prompt": f"{item['prompt']} at site {number}"}) for item in prompts]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")


_MEASURING = threading.Lock()


def _one_at_a_time(
    site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
) -> Measured:
    """Measure as agents do, but not two of them at once: transformers loads models through global state."""
    with _MEASURING:
        return measured_here(site, sealed, consented, resources, progress)


def _union(path: Path, folders: list[Path]) -> Path:
    union = path / "union"
    (union / "clips").mkdir(parents=True)
    lines = []
    for folder in folders:
        for clip in (folder / "clips").iterdir():
            shutil.copy(clip, union / "clips" / clip.name)
        lines += (folder / "prompts.jsonl").read_text().splitlines(keepends=True)
    (union / "prompts.jsonl").write_text("".join(lines))
    return union


def _pooled(story: Story, store: Path) -> Statistics:
    data = Dataset.open(story.union, frames=story.spec.video.frames)
    equipment = Equipment(story.models, story.models)
    found = measure_site(story.spec, public_tasks(story.spec), data, equipment, ClipStore(store), silent)
    return found.statistics


def _compare(federated: Evaluation, pooled: Evaluation, *, timed: bool) -> None:
    assert len(federated.results) == len(pooled.results) > 20
    for ours, theirs in zip(federated.results, pooled.results, strict=True):
        if ours.metric in TIMED and not timed:
            continue
        assert ours.value is not None, ours.reason
        tolerance = 1e-6 if ours.metric in ("frechet-videomae@1", "mmd-rff@1") else 1e-9
        assert ours.value == pytest.approx(theirs.value, rel=tolerance), (ours.metric, ours.inputs, ours.model)


def test_clips_made_anew_give_the_same_statistics_and_figures(story: Story, tmp_path: Path) -> None:
    pooled = _pooled(story, tmp_path)
    for name, values in story.federated.items():
        if not any(metric in name for metric in TIMED):
            np.testing.assert_allclose(values, pooled[name], rtol=1e-9, atol=1e-9 * np.abs(pooled[name]).max())
    _compare(evaluate(story.spec, story.federated, None), evaluate(story.spec, pooled, None), timed=False)


def test_with_the_sites_own_clips_even_the_times_agree(story: Story, tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    engine = Engine(story.spec, store)
    for item in checked_tasks(story.spec, SITES):  # of a clip that two sites made, the time at the first counts
        key = engine.key(public_tasks(story.spec)[item.number])
        clip = ClipStore(story.stores[item.first]).get(key)
        assert clip is not None
        assert ClipStore(story.stores[item.second]).has(key)
        store.put(key, Clip(clip.frames), seconds=clip.seconds, device=clip.device)
    assert sum(store.merge(ClipStore(other)) for other in story.stores) > 0
    resources = Resources(story.union, story.models, allow_unnoised=True)
    local = run_locally(story.spec, resources, tmp_path, silent, policy_in(StateFolder(tmp_path)))
    _compare(evaluate(story.spec, story.federated, None), local, timed=True)


def test_clips_that_two_sites_made_are_the_same_and_count_once(story: Story) -> None:
    """All four agents on one machine: whatever is made twice is equal to the last bit."""
    (line,) = [line for line in verify(story.bundle).lines if line.id == "V35"]
    assert line.status == "PASS"
    assert "3 public clips made at two institutions are the same at both: 3 to the last bit." in line.sentence
    for model in story.spec.models:
        assert story.federated[f"public/{model.id}/count"].tolist() == [3.0, 0.0]


def test_every_clip_can_be_shown_in_a_spot_check(story: Story) -> None:
    """Also the private ones and the reference clips, which are decoded again, of a site whose list is the real one."""
    evidence = Evidence(story.bundle, root=None, policy=DEFAULT_POLICY, draft=False)
    key, state = log_key(evidence.roster), StateFolder(story.path / "site1")
    site = open_site(state, no_passphrase)
    result = own_result(story.bundle, site.config.institution, site.config.root_fingerprint)
    log, note = open_log(str(story.path / "log"), key)
    kept = KeptSamples.decode((state.session(result.session) / SAMPLES_FILE).read_bytes())
    shown = ShownClips(story.spec, ClipStore(state.clips), load_registry(), story.path / "data1")
    question = Question(choice_of(log, note, result.place).encode(), 1000, "auditor", shown)
    file = answer(*open_lines(result, kept, question, "2026-03-01T09:00:00Z"), question, site.signer)
    report = check_opening(evidence, file, Asked(1000, site.config.root_fingerprint))
    found = {line.id: f"{line.status} {line.sentence} {line.detail}" for line in report.lines}
    assert report.exit_code == 0, found
    sides = Counter(sample["side"] for sample in kept.samples)
    assert sides.keys() >= {"public", "private", "reference"}
    assert f"{len(kept.samples)} clips of {len(kept.samples)}" in found["S08"]
    lost = ShownClips(story.spec, ClipStore(story.path / "nothing"), load_registry(), story.path / "data0")
    with pytest.raises(StoreError, match="removed or changed"):
        open_lines(result, kept, Question(question.choice, 1000, "auditor", lost), "2026-03-01T09:00:00Z")


def test_an_average_of_site_values_would_not_agree(story: Story, tmp_path: Path) -> None:
    """The comparison can fail: distances averaged over sites are another number."""
    pooled = evaluate(story.spec, _pooled(story, tmp_path), None)
    whole = next(item.value for item in pooled.results if item.metric == "frechet-videomae@1")
    parts = []
    for number in range(SITES):
        data = Dataset.open(story.union.parent / f"data{number}", frames=story.spec.video.frames)
        equipment = Equipment(story.models, story.models)
        found = measure_site(story.spec, public_tasks(story.spec), data, equipment, ClipStore(tmp_path), silent)
        mine = evaluate(story.spec, found.statistics, None)
        parts.append(next(item.value or 0.0 for item in mine.results if item.metric == "frechet-videomae@1"))
    assert whole is not None
    assert abs(sum(parts) / SITES - whole) > 1e-3 * whole


def test_the_bundle_says_that_it_is_not_private(story: Story) -> None:
    report = verify(story.bundle)
    failed = {line.id: f"{line.sentence} {line.detail}" for line in report.lines if line.status == "FAIL"}
    assert list(failed) == ["V42"]
    assert "not private" in failed["V42"]
