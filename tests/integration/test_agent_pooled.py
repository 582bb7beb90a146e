"""With the noise off, what a session publishes is one evaluation of all the sites' data together."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from testkit.coordinator import running_coordinator
from testkit.institutions import write_site
from testkit.sessions import SITES
from testkit.tiny import tiny_spec

from vdb_participant.agent import Outcome, participate
from vdb_participant.dataset import Dataset
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.synthetic.clips import write_site as write_clips
from vdb_participant.synthetic.models import build_all
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import AGGREGATE
from vdb_shared.evaluation import evaluate
from vdb_shared.metrics.statistic import pooled
from vdb_shared.privacy.mechanism import decode
from vdb_shared.seal import seal_terms
from vdb_shared.secagg.encoding import decode_totals
from vdb_shared.spec import Deadlines
from vdb_shared.tasks import public_tasks, shard

CLIPS = 4
TOLERANCE = 1e-9


def test_federated_is_pooled(tmp_path: Path) -> None:
    models = tmp_path / "models"
    build_all(models)
    written = tiny_spec(models)
    privacy = written.privacy.model_copy(update={"mechanism": "none"})
    deadlines = Deadlines(joining=60, computing=600, round=60, countersigning=60)
    spec = written.model_copy(update={"privacy": privacy, "deadlines": deadlines})
    for number in range(SITES):
        write_clips(tmp_path / f"data-{number}", site=number, clips=CLIPS)
    outcomes: dict[int, Outcome] = {}
    with running_coordinator(tmp_path, institutions=SITES) as coordinator:
        session = coordinator.admin.create_session(spec)
        sites = [
            write_site(tmp_path / identity.institution, identity, coordinator.address)
            for identity in coordinator.identities
        ]

        def run(number: int) -> None:
            data = tmp_path / f"data-{number}"
            outcomes[number] = participate(sites[number], session, data, models, allow_unnoised=True)

        threads = [threading.Thread(target=run, args=[number], daemon=True) for number in range(SITES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
    assert len(outcomes) == SITES
    members = read_archive(outcomes[0].bundle.read_bytes())
    terms = seal_terms(spec, range(SITES))
    totals = decode_totals(np.frombuffer(members[AGGREGATE], dtype="<u8"), SITES)
    federated = decode(terms.layout, terms.calibration, totals)
    parts = tuple(
        measure_site(
            spec,
            shard(public_tasks(spec), number, SITES),
            Dataset.open(tmp_path / f"data-{number}", frames=spec.video.frames),
            Equipment(models, models),
            ClipStore(sites[number].folder.clips),
        ).statistics
        for number in range(SITES)
    )
    together = pooled(terms.layout, parts)
    for name, expected in together.items():
        assert federated[name] == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE), name
    ours, theirs = evaluate(spec, federated, None).results, evaluate(spec, together, None).results
    assert [result.value is None for result in ours] == [result.value is None for result in theirs]
    for found, expected_result in zip(ours, theirs, strict=True):
        if found.value is not None:
            assert found.value == pytest.approx(expected_result.value, rel=1e-6), found.metric
