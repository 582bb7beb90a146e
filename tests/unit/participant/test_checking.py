"""Clips that two sites make: in no sum twice, the same at both, and a site with other clips is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from testkit.tiny import tiny_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.video import Frames
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.checking import thumbnail
from vdb_participant.measure.site import Equipment, SiteMeasurement, measure_site
from vdb_participant.session.contribution import run_manifest
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.canonical import decode_base64, sha256_digest
from vdb_shared.checked_clips import compare_checked
from vdb_shared.layout import layout_of
from vdb_shared.metrics.statistic import pooled
from vdb_shared.spec import Spec
from vdb_shared.tasks import CheckedWork, checked_tasks, checked_work, public_tasks, shard

SITES = ("archive-oslo", "clinic-lyon", "lab-kyoto")
QUICK = ("temporal-flickering@1", "frechet-videomae@1", "mmd-rff@1", "latency@1")


def with_share(spec: Spec, share: str) -> Spec:
    return spec.model_copy(update={"generation": spec.generation.model_copy(update={"checked_share": Decimal(share)})})


@pytest.fixture(scope="module")
def spec(tiny_models: Path) -> Spec:
    """Return a spec of six public clips, each of which two sites make."""
    return with_share(tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=QUICK, samples=3), "1")


def measure(
    spec: Spec, models: Path, data: Path, store: Path, place: int, checked: Sequence[CheckedWork] | None = None
) -> SiteMeasurement:
    """Return what the site at a place measures; by default with the clips that fall to it a second time."""
    return measure_site(
        spec,
        shard(public_tasks(spec), place, len(SITES)),
        Dataset.open(data, frames=spec.video.frames),
        Equipment(models, models, "cpu"),
        ClipStore(store),
        checked=checked_work(spec, place, len(SITES)) if checked is None else checked,
    )


@pytest.fixture(scope="module")
def measured(
    spec: Spec, tiny_models: Path, site_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SiteMeasurement, ...]:
    """Return what three honest sites measure, each with a store of its own."""
    return tuple(
        measure(spec, tiny_models, site_data, tmp_path_factory.mktemp("store"), place) for place in range(len(SITES))
    )


def manifest(spec: Spec, found: SiteMeasurement) -> RunManifest:
    """Return what the site says in its contribution."""
    leaves = [sample.to_json() for sample in found.samples]
    return run_manifest(spec, found.manifest, leaves, sha256_digest(b"samples"))


def manifests(spec: Spec, measured: Sequence[SiteMeasurement]) -> dict[str, RunManifest]:
    return {name: manifest(spec, found) for name, found in zip(SITES, measured, strict=True)}


def test_each_public_clip_is_in_one_sum_however_often_it_is_made(
    spec: Spec, measured: tuple[SiteMeasurement, ...], tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    together = pooled(layout_of(spec), tuple(found.statistics for found in measured))
    assert together["public/tiny-wan-a/count"].tolist() == [6.0, 0.0]
    assert together["public/tiny-wan-a/temporal-flickering@1/histogram"].sum() == 6
    assert sum(item.public_clips_made for item in manifests(spec, measured).values()) == 6
    assert sum(count for found in measured for count in found.manifest["public_clips"].values()) == 6
    alone = measure(spec, tiny_models, site_data, tmp_path, 1, checked=())
    assert not alone.manifest["checked"]
    assert len(measured[1].samples) > len(alone.samples)
    for name, values in alone.statistics.items():
        if "latency" not in name:
            np.testing.assert_array_equal(measured[1].statistics[name], values)


def test_honest_sites_say_the_same(spec: Spec, measured: tuple[SiteMeasurement, ...]) -> None:
    found = compare_checked(spec, SITES, manifests(spec, measured))
    assert found is not None
    assert [pair.outcome for pair in found.pairs] == ["equal"] * 6
    assert all(set(pair.scores) == {"temporal-flickering@1"} for pair in found.pairs)
    assert all(set(pair.distances) == {"frechet-videomae@1", "mmd-rff@1"} for pair in found.pairs)


def test_each_site_speaks_of_the_clips_that_fall_to_it_and_of_no_others(
    spec: Spec, measured: tuple[SiteMeasurement, ...]
) -> None:
    for place, found in enumerate(measured):
        mine = [item.number for item in checked_tasks(spec, 3) if place in (item.first, item.second)]
        assert [item.task for item in manifest(spec, found).checked] == mine
    digests = {sample.clip for found in measured for sample in found.samples if sample.side == "public"}
    said = {item.clip for found in measured for item in manifest(spec, found).checked}
    assert said == digests


def test_what_is_said_of_a_clip_is_what_it_adds(spec: Spec, measured: tuple[SiteMeasurement, ...]) -> None:
    """Of one site with two clips, the scores and vectors said are those in its sums."""
    first = measured[0]
    counted = {item.number for item in checked_work(spec, 0, 3) if item.counted}
    said = [item for item in manifest(spec, first).checked if item.task in counted]
    assert len(said) == 2
    sums = first.statistics["public/tiny-wan-a/temporal-flickering@1/moments"]
    assert float(sum(item.scores["temporal-flickering@1"] for item in said)) == pytest.approx(sums[0], abs=2e-6)
    vectors = [np.frombuffer(decode_base64(item.vectors["frechet-videomae@1"]), "<f4") for item in said]
    share = first.statistics["public/tiny-wan-a/frechet-videomae@1/moments"][:16]
    np.testing.assert_allclose(np.sum(vectors, axis=0), share, atol=1e-6)


def with_other_clips(spec: Spec, store: Path, frames: Sequence[Frames], place: int) -> None:
    """Put another model's clips into a site's store under the names of those that it was to make."""
    engine, kept = Engine(spec, ClipStore(store)), ClipStore(store)
    mine = {*shard(public_tasks(spec), place, len(SITES)), *(w.task for w in checked_work(spec, place, len(SITES)))}
    for task, clip in zip(sorted(mine, key=repr), frames, strict=False):
        kept.put(engine.key(task), Clip(clip), seconds=1.0, device="CPU")


@pytest.fixture(scope="module")
def other_frames(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Frames]:
    """Return six clips that another model made of the same prompts."""
    other = tiny_spec(tiny_models, pipelines=("tiny-wan-b",), metrics=("temporal-flickering@1",), samples=3)
    other = other.model_copy(update={"metrics": other.metrics[:1]})
    store, site = tmp_path_factory.mktemp("other"), Equipment(tiny_models, tiny_models, "cpu")
    measure_site(other, public_tasks(other), None, site, ClipStore(store))
    engine = Engine(other, ClipStore(store))
    clips = [ClipStore(store).get(engine.key(task)) for task in public_tasks(other)]
    return [clip.frames for clip in clips if clip is not None]


def test_a_site_that_ran_another_model_is_named_where_clips_are_made_twice_and_only_there(
    spec: Spec,
    measured: tuple[SiteMeasurement, ...],
    other_frames: list[Frames],
    tiny_models: Path,
    site_data: Path,
    tmp_path: Path,
) -> None:
    assert len(other_frames) == 6
    with_other_clips(spec, tmp_path / "on", other_frames, 2)
    liar = measure(spec, tiny_models, site_data, tmp_path / "on", 2)
    found = compare_checked(spec, SITES, manifests(spec, (*measured[:2], liar)))
    assert found is not None
    assert {pair.outcome for pair in found.pairs if "lab-kyoto" in pair.institutions} == {"apart"}
    assert {pair.outcome for pair in found.pairs if "lab-kyoto" not in pair.institutions} <= {"equal"}

    off = with_share(spec, "0")
    with_other_clips(off, tmp_path / "off", other_frames, 2)
    unnoticed = measure(off, tiny_models, site_data, tmp_path / "off", 2)
    assert not manifest(off, unnoticed).checked
    assert compare_checked(off, SITES, {"lab-kyoto": manifest(off, unnoticed)}) is None
    honest, declared = manifest(spec, measured[2]), manifest(off, unnoticed)
    for field in ("models", "extractors", "profile", "public_clips_made", "public_clips_failed"):
        assert getattr(declared, field) == getattr(honest, field)
    clips = unnoticed.statistics["public/tiny-wan-a/count"]
    assert clips.tolist() == [2.0, 0.0]


def test_private_data_change_nothing_of_what_is_said(
    spec: Spec, measured: tuple[SiteMeasurement, ...], tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(site_data, tmp_path / "data"))
    public = {task.prompt for task in public_tasks(spec)}
    lines = [json.loads(line) for line in (data / "prompts.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line["prompt"] = sorted(public)[number % len(public)] if number % 2 else f"something else {number}"
    (data / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:7]))
    found = measure(spec, tiny_models, data, tmp_path / "store", 1)
    assert found.manifest["checked"] == measured[1].manifest["checked"]
    private = [{item.prompt for item in site.samples if item.side == "private"} for site in (found, measured[1])]
    assert private[0] != private[1]


def test_a_second_clip_that_fails_is_told_and_counts_nowhere(
    spec: Spec, measured: tuple[SiteMeasurement, ...], tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    engine, store = Engine(spec, ClipStore(tmp_path)), ClipStore(tmp_path)
    (failed, *_) = (item for item in checked_work(spec, 0, 3) if not item.counted)
    store.give_up(engine.key(failed.task), "a reason that may quote a private prompt")
    found = measure(spec, tiny_models, site_data, tmp_path, 0)
    said = {item.task: item for item in manifest(spec, found).checked}
    assert said[failed.number].model_dump(mode="json") == {"task": failed.number}
    assert manifest(spec, found).public_clips_failed == 0
    assert found.statistics["public/tiny-wan-a/count"].tolist() == [2.0, 0.0]
    assert "a reason" not in manifest(spec, found).model_dump_json()


@pytest.mark.parametrize("shape", [(2, 16, 16), (9, 33, 50), (5, 17, 31)])
def test_a_thumbnail_holds_the_means_of_cells(shape: tuple[int, int, int]) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    count, height, width = shape
    expected = []
    for number in range(4):
        frame = frames[(2 * number + 1) * count // 8]
        for row in range(8):
            for column in range(8):
                cell = frame[
                    row * height // 8 : (row + 1) * height // 8, column * width // 8 : (column + 1) * width // 8
                ]
                expected += [int(np.floor(cell[..., channel].mean() + 0.5)) for channel in range(3)]
    assert list(thumbnail(frames)) == expected
