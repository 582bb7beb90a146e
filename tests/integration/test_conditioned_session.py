"""A session over models that start from pictures and videos: public ones that all sites hold, and clips of their records.

Real agents, tiny pipelines of real classes and a real coordinator; without noise, so that sums can be compared.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from testkit.conditioned import conditioned_spec, video_condition, write_models, write_records
from testkit.coordinator import running_coordinator
from testkit.institutions import write_site
from testkit.specs import without_noise
from vdb_participant.agent import Request, look, take_part
from vdb_participant.data.dataset import Dataset
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.models import CONDITIONS
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session.measurement import measured_here
from vdb_participant.session.preparation import Resources
from vdb_participant.session.progress import Progress
from vdb_participant.session.records import JOIN_SENT, Consented, Measured
from vdb_participant.session.terms import SealedTerms
from vdb_participant.site.institution import Site
from vdb_participant.site.journal_format import read_journal
from vdb_participant.synthetic.models import build_all
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Join, parse_statement
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import DatasetError
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.mechanism import decode
from vdb_shared.spec import Spec
from vdb_shared.tasks import public_tasks

SITES = 4
WORDS = "a circle that dances"


@dataclass(frozen=True)
class Story:
    """What the sites had, what they were shown, and what the session published."""

    spec: Spec
    models: Path
    data: tuple[Path, ...]
    plan: str
    shown: str
    signed: str
    refusal: str
    federated: Statistics


def lines_of(number: int) -> list[tuple[str, str | None]]:
    """Return a site's prompts: one with a clip of its own, one without, two with one clip."""
    return [
        (f"one of {number}", f"red-{number}"),
        (f"two of {number}", None),
        (f"three of {number}", f"blue-{number}"),
        (f"four of {number}", f"blue-{number}"),
    ]


def records_of(path: Path, number: int) -> Path:
    """Write a site's data."""
    clips = {f"{colour}-{number}": colour for colour in ("red", "blue")}
    return write_records(path / f"data{number}", lines_of(number), clips, variant=number)


_MEASURING = threading.Lock()


def _one_at_a_time(
    site: Site, sealed: SealedTerms, consented: Consented, resources: Resources, progress: Progress
) -> Measured:
    """Measure as agents do, but not two of them at once: transformers loads models through global state."""
    with _MEASURING:
        return measured_here(site, sealed, consented, resources, progress)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    path = tmp_path_factory.mktemp("conditioned")
    build_all(path / "tiny")
    models = write_models(path / "models", path / "tiny")
    conditions = [video_condition(models, path, colour) for colour in ("green", "yellow")]
    prompts = [(WORDS, condition) for condition in conditions]
    spec = without_noise(conditioned_spec(models, ("tiny-wan-a", "tiny-i2v", "tiny-v2v"), prompts))
    data = tuple(records_of(path, number) for number in range(SITES))
    with running_coordinator(path / "lead", institutions=SITES) as coordinator:
        session = coordinator.admin.create_session(spec)
        bundles: dict[int, bytes] = {}
        sites = [
            write_site(path / f"site{number}", coordinator.identities[number], coordinator.address)
            for number in range(SITES)
        ]

        shown: dict[int, str] = {}

        def resources(number: int, folder: Path = models) -> Resources:
            # The first site looks before it joins, and has timed all models then.
            return Resources(data[number], folder, "cpu", timed=number == 0, allow_unnoised=True)

        def join(number: int) -> None:
            site = sites[number]
            with Client(Connection(site.config.address, site.tls, site.egress)) as link:
                consent = partial(shown.__setitem__, number)
                request = Request(session, resources(number), lambda plan: consent(plan.text), measure=_one_at_a_time)
                bundles[number] = take_part(site, link, request).bundle.read_bytes()

        with Client(Connection(sites[0].config.address, sites[0].tls, sites[0].egress)) as link:
            plan = look(sites[0], link, session, resources(0)).plan.text
            lacking = Path(shutil.copytree(models, path / "lacking"))
            shutil.rmtree(lacking / CONDITIONS)
            with pytest.raises(DatasetError) as refusal:
                look(sites[0], link, session, resources(0, lacking))
        threads = [threading.Thread(target=join, args=[number]) for number in range(SITES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(bundles) == SITES, "an agent failed; its error is printed above"
    journal = (sites[0].folder.session(session) / "journal").read_bytes()
    (sent,) = (item for item in read_journal(journal, digest_bytes(session)).records if item.name == JOIN_SENT)
    signed, _ = parse_statement(Envelope.from_json(sent.value).payload, Join)
    evidence = Evidence(bundles[0], root=None, policy=DEFAULT_POLICY, draft=False)
    federated = decode(evidence.terms.layout, evidence.terms.calibration, evidence.totals)
    return Story(spec, models, data, plan, shown[0], signed.consent, str(refusal.value), federated)


def test_a_dry_run_shows_what_models_start_from_and_what_is_missing(story: Story) -> None:
    plan = " ".join(story.plan.split())
    assert "1 prompt with a clip of its own, from which tiny-i2v, tiny-v2v would start" in plan
    assert "Generate 6 private clips and our share of 6 public ones" in plan
    for number, prompt in enumerate(story.spec.prompts):
        assert f" p{number}: “{WORDS}”, from {prompt.condition} " in plan
    assert "expected the picture or video of prompt p0, found none; get it from the lead" in story.refusal


def test_hours_that_a_dry_run_found_are_shown_again_and_signed(story: Story) -> None:
    """Three models were timed once: consent is asked for the same figures, and the join names the text that held them."""
    looked, joined = (text.partition("TIME AND DISK")[2].partition("\n\n")[0] for text in (story.plan, story.shown))
    assert joined == looked, "figures of another run would differ"
    for model in story.spec.models:
        assert f"  {model.id}: about " in joined
    assert joined.count("timed a whole clip of ") == len(story.spec.models)
    assert "  Time: about " in joined
    assert "  Disk: about " in joined
    assert story.signed == sha256_digest(story.shown.encode())
    assert story.shown != story.plan, "each has a number of its own"


def test_the_federated_sums_are_those_of_one_site_with_all_data(story: Story, tmp_path: Path) -> None:
    union = tmp_path / "union"
    write_records(union, [line for number in range(SITES) for line in lines_of(number)], {})
    for folder in story.data:
        for clip in (folder / "clips").iterdir():
            shutil.copy(clip, union / "clips")
    pooled = measure_site(
        story.spec,
        public_tasks(story.spec),
        Dataset.open(union, frames=9),
        Equipment(story.models, story.models, "cpu"),
        ClipStore(tmp_path / "store"),
    ).statistics
    assert set(pooled) == set(story.federated)
    for name, values in pooled.items():
        np.testing.assert_allclose(story.federated[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
    assert [story.federated[f"private/{model.id}/count"].tolist() for model in story.spec.models] == [
        [4.0 * SITES, 0.0],
        [1.0 * SITES, 0.0],
        [1.0 * SITES, 0.0],
    ]
    assert {tuple(story.federated[f"public/{model.id}/count"]) for model in story.spec.models} == {(2.0, 0.0)}
