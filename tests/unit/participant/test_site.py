"""A whole site: sums of bounded shares that do not depend on how the work is split."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from testkit.tiny import tiny_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.resize import fit
from vdb_participant.data.video import decode
from vdb_participant.device import device_name
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.progress import Event
from vdb_participant.generation.settings import settings_of
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.frames import temporal_flickering
from vdb_participant.measure.site import Equipment, SiteMeasurement, measure_site
from vdb_shared.bundle.samples import Failure
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import DatasetError, ModelError, SpecError
from vdb_shared.layout import layout_of
from vdb_shared.metrics.statistic import pooled
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, public_tasks, select_private_prompts, shard, tasks_for

QUICK = ("temporal-flickering@1", "frechet-videomae@1", "mmd-rff@1")


@pytest.fixture(scope="session")
def spec(tiny_models: Path) -> Spec:
    return tiny_spec(tiny_models)


@pytest.fixture(scope="session")
def quick(tiny_models: Path) -> Spec:
    return tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=QUICK, samples=2)


@pytest.fixture
def data(tmp_path: Path, site_data: Path) -> Path:
    return Path(shutil.copytree(site_data, tmp_path / "data"))


def _no_progress(stage: str, done: int, total: int) -> None:
    pass


def _measure(
    spec: Spec, models: Path, data: Path | None, store: Path, tasks: tuple[ClipTask, ...] | None = None
) -> SiteMeasurement:
    dataset = Dataset.open(data, frames=spec.video.frames) if data else None
    return measure_site(
        spec,
        public_tasks(spec) if tasks is None else tasks,
        dataset,
        Equipment(models, models, "cpu"),
        ClipStore(store),
        _no_progress,
    )


@pytest.fixture(scope="session")
def measured(
    spec: Spec, tiny_models: Path, site_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SiteMeasurement, Path]:
    store = tmp_path_factory.mktemp("store")
    return _measure(spec, tiny_models, site_data, store), store


def test_statistics_fill_the_layout(spec: Spec, measured: tuple[SiteMeasurement, Path]) -> None:
    statistics = measured[0].statistics
    layout_of(spec).check(statistics)
    assert statistics["reference/clips/count"].tolist() == [12.0]
    for model in ("tiny-wan-a", "tiny-wan-b"):
        assert statistics[f"public/{model}/count"].tolist() == [2.0, 0.0]
        assert statistics[f"private/{model}/count"].tolist() == [2.0, 0.0]
        assert statistics[f"public/{model}/temporal-flickering@1/histogram"].sum() == 2
    assert measured[0].private_records == {"prompts": 2, "captioned": 0, "clips": 12}
    assert measured[0].problems == ()


def test_sums_are_those_of_the_clips_in_the_store(
    spec: Spec, measured: tuple[SiteMeasurement, Path], site_data: Path
) -> None:
    prompts = select_private_prompts(spec, Dataset.open(site_data).prompts)
    engine, store = Engine(spec, ClipStore(measured[1])), ClipStore(measured[1])
    model = spec.models[1]
    private = tasks_for(spec, model, [(prompt.text, "") for prompt in prompts])
    for side, tasks in (("public", public_tasks(spec)), ("private", private)):
        mine = [task for task in tasks if task.model == model.id]
        clips = [store.get(engine.key(task)) for task in mine]
        scores = [temporal_flickering(clip.frames) for clip in clips if clip is not None]
        assert len(scores) == 2
        expected = [sum(scores), sum(score**2 for score in scores)]
        found = measured[0].statistics[f"{side}/tiny-wan-b/temporal-flickering@1/moments"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2 * 2.0**-40)  # each of two shares is cut to that grid


def test_latencies_come_from_the_store_not_from_a_clock(
    spec: Spec, tiny_models: Path, site_data: Path, measured: tuple[SiteMeasurement, Path]
) -> None:
    again = _measure(spec, tiny_models, site_data, measured[1])
    for name, values in measured[0].statistics.items():
        np.testing.assert_array_equal(again.statistics[name], values)
    assert again.samples == measured[0].samples


def test_the_union_is_the_sum_over_sites(quick: Spec, tiny_models: Path, tmp_path: Path, site_data: Path) -> None:
    whole = _measure(quick, tiny_models, site_data, tmp_path / "whole")
    names = sorted(path.name for path in (site_data / "clips").iterdir())
    parts = []
    for site, mine in enumerate((names[:5], names[5:])):
        data = tmp_path / f"data{site}"
        (data / "clips").mkdir(parents=True)
        for name in mine:
            shutil.copy(site_data / "clips" / name, data / "clips" / name)
        lines = (site_data / "prompts.jsonl").read_text().splitlines(keepends=True)
        (data / "prompts.jsonl").write_text("".join(line for line in lines if any(name in line for name in mine)))
        tasks = shard(public_tasks(quick), site, 2)[::-1]
        parts.append(_measure(quick, tiny_models, data, tmp_path / f"store{site}", tasks))
    together = pooled(layout_of(quick), tuple(part.statistics for part in parts))
    for name, values in whole.statistics.items():
        np.testing.assert_allclose(together[name], values, rtol=0, atol=1e-12 * max(1, np.abs(values).max()))
    clips = {(sample.prompt, sample.number): sample.clip for sample in whole.samples if sample.side == "public"}
    split = [sample for part in parts for sample in part.samples if sample.side == "public"]
    assert {(sample.prompt, sample.number): sample.clip for sample in split} == clips


def test_a_failed_clip_counts_as_failed_and_adds_nothing_else(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    engine, store = Engine(quick, ClipStore(tmp_path)), ClipStore(tmp_path)
    task = public_tasks(quick)[0]
    store.give_up(engine.key(task), "cannot draw: patient Jane Doe, left hip")
    found = _measure(quick, tiny_models, site_data, tmp_path)
    assert found.statistics["public/tiny-wan-a/count"].tolist() == [3.0, 1.0]
    assert found.statistics["public/tiny-wan-a/temporal-flickering@1/histogram"].sum() == 3
    assert [sample.failure for sample in found.samples if sample.failure] == [Failure.ENDED]
    assert "Jane" not in repr([sample.to_json() for sample in found.samples])  # which may be opened to an auditor


def test_a_reference_clip_that_breaks_later_is_a_problem_not_a_crash(
    quick: Spec, tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    dataset = Dataset.open(data, frames=9)
    dataset.clips[3].write_bytes(b"gone")
    found = measure_site(quick, (), dataset, Equipment(tiny_models, tiny_models, "cpu"), ClipStore(tmp_path / "s"))
    assert found.statistics["reference/clips/count"].tolist() == [11.0]
    assert [problem.file for problem in found.problems] == [dataset.clips[3].name]
    assert found.private_records["clips"] == 11


def test_a_reference_clip_that_is_another_later_ends_the_measurement(
    quick: Spec, tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    """The ledger would not know it: what is measured must be what is charged."""
    dataset = Dataset.open(data, frames=9)
    dataset.clips[3].write_bytes(dataset.clips[4].read_bytes() + b"\0")
    with pytest.raises(DatasetError, match="was changed after the data were read"):
        measure_site(quick, (), dataset, Equipment(tiny_models, tiny_models, "cpu"), ClipStore(tmp_path / "s"))


def test_reference_shares_are_those_of_the_fitted_frames(
    measured: tuple[SiteMeasurement, Path], site_data: Path
) -> None:
    references = [sample for sample in measured[0].samples if sample.side == "reference"]
    assert len(references) == 12
    clip = fit(decode(site_data / "clips" / references[0].prompt), frames=9, height=32, width=32)
    assert clip.shape == (9, 32, 32, 3)
    assert np.linalg.norm(measured[0].statistics["reference/clips/mmd-rff@1/embedding"]) <= 12


def test_the_manifest_tells_nothing_of_private_records(
    quick: Spec, tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    more = dict(_measure(quick, tiny_models, data, tmp_path / "1").manifest)
    lines = (data / "prompts.jsonl").read_text().splitlines(keepends=True)
    (data / "prompts.jsonl").write_text(lines[0])
    for path in sorted((data / "clips").iterdir())[4:]:
        path.unlink()
    fewer = dict(_measure(quick, tiny_models, data, tmp_path / "2").manifest)
    assert more == fewer
    canonical_json(more)
    assert more["models"] == {"tiny-wan-a": quick.models[0].manifest}
    assert more["public_clips"] == {device_name("cpu"): 4}


def test_changed_or_missing_weights_are_refused_before_any_work(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    models = Path(shutil.copytree(tiny_models, tmp_path / "models"))
    config = models / "tiny-wan-a" / "vae" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ModelError, match=f"expected {quick.models[0].manifest} in the spec, found sha256:"):
        _measure(quick, models, site_data, tmp_path / "store")
    shutil.rmtree(models / "tiny-wan-a")
    shutil.copytree(tiny_models / "tiny-wan-a", models / "tiny-wan-a")
    shutil.rmtree(models / "tiny-videomae")
    with pytest.raises(ModelError, match="tiny-videomae: expected weights with sha256:"):
        _measure(quick, models, site_data, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_extractors_that_no_metric_uses_need_not_be_there(tiny_models: Path, tmp_path: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=QUICK[:1], inputs=("public",))
    models = tmp_path / "models"
    shutil.copytree(tiny_models / "tiny-wan-a", models / "tiny-wan-a")
    found = _measure(spec, models, None, tmp_path / "store")
    assert found.private_records == {"prompts": 0, "captioned": 0, "clips": 0}
    assert set(found.statistics) == {block.name for block in layout_of(spec).blocks}


def test_what_the_spec_needs_of_the_data_is_checked_first(
    quick: Spec, tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="needs prompts, found none"):
        _measure(quick, tiny_models, None, tmp_path / "store")
    shutil.move(data / "prompts.jsonl", tmp_path / "prompts.jsonl")
    with pytest.raises(DatasetError, match="needs prompts, found none"):
        _measure(quick, tiny_models, data, tmp_path / "store")
    shutil.rmtree(data / "clips")
    (data / "prompts.jsonl").write_text('{"id": "a", "prompt": "x"}\n')
    with pytest.raises(DatasetError, match="needs clips, found none"):
        _measure(quick, tiny_models, data, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_more_records_than_agreed_are_refused(quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path) -> None:
    privacy = quick.privacy.model_copy(update={"maximum_records": 11})
    with pytest.raises(DatasetError, match="12 records would be used, the spec allows 11"):
        _measure(quick.model_copy(update={"privacy": privacy}), tiny_models, site_data, tmp_path / "store")


def test_clips_too_short_for_an_extractor_are_refused(tiny_models: Path, site_data: Path, tmp_path: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=QUICK, frames=5)
    with pytest.raises(SpecError, match="5 is too few for extractor tiny-videomae, which takes 8"):
        _measure(spec, tiny_models, site_data, tmp_path / "store")


def test_frames_that_no_pipeline_makes_are_refused(tiny_models: Path, site_data: Path, tmp_path: Path) -> None:
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=QUICK, frames=10)
    with pytest.raises(SpecError, match=r"video\.frames: 10 frames cannot be made"):
        _measure(spec, tiny_models, site_data, tmp_path / "store")


def test_auto_is_a_profile_of_the_declared_class(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    generation = quick.generation.model_copy(update={"profile": "auto", "grade": "exact", "samples": 1})
    spec = quick.model_copy(update={"generation": generation})
    found = _measure(spec, tiny_models, site_data, tmp_path)
    assert found.manifest["profile"] == "auto"
    assert found.manifest["profiles"] == {"tiny-wan-a": "exact"}
    settings = settings_of(spec, profiles=found.manifest["profiles"])
    key = Engine(spec, ClipStore(tmp_path), settings).key(public_tasks(spec)[0])
    clip = ClipStore(tmp_path).get(key)
    assert clip is not None
    assert (clip.record["profile"], clip.record["class"]) == ("exact", "exact")


def test_steps_and_clips_are_told_here_and_stages_alone_elsewhere(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    stages: set[str] = set()
    measure_site(
        quick,
        public_tasks(quick),
        Dataset.open(site_data, frames=9),
        Equipment(tiny_models, tiny_models, "cpu", tell=events.append),
        ClipStore(tmp_path),
        lambda stage, _done, _total: stages.add(stage),
    )
    assert [event.done for event in events if event.kind == "finished"] == list(range(1, 9))
    assert {(event.step, event.steps) for event in events if event.kind == "step"} == {(1, 1)}
    assert all(event.seconds_left is not None for event in events if event.kind == "finished")
    assert stages == {"generating with tiny-wan-a", "measuring tiny-wan-a", "measuring reference clips"}


def test_progress_reaches_its_end(quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    measure_site(
        quick,
        public_tasks(quick),
        Dataset.open(site_data, frames=9),
        Equipment(tiny_models, tiny_models, "cpu"),
        ClipStore(tmp_path),
        lambda stage, done, total: reports.append((stage, done, total)),
    )
    last = {stage: (done, total) for stage, done, total in reports}
    assert last == {
        "generating with tiny-wan-a": (8, 8),
        "measuring tiny-wan-a": (8, 8),
        "measuring reference clips": (12, 12),
    }


def test_measuring_beside_generation_or_after_it_gives_the_same_bits(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    beside = _measure(quick, tiny_models, site_data, tmp_path)
    after = _measure(quick, tiny_models, site_data, tmp_path)  # every clip is there: nothing is generated
    for name, values in beside.statistics.items():
        np.testing.assert_array_equal(after.statistics[name], values)
    assert after.samples == beside.samples


def test_two_workers_measure_what_one_process_does(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    alone = _measure(quick, tiny_models, site_data, tmp_path / "alone")
    stages: dict[str, tuple[int, int]] = {}

    def note(stage: str, done: int, total: int) -> None:
        stages[stage] = (done, total)

    found = measure_site(
        quick,
        public_tasks(quick),
        Dataset.open(site_data, frames=quick.video.frames),
        Equipment(tiny_models, tiny_models, "cpu", workers=2),
        ClipStore(tmp_path / "together"),
        note,
    )
    for name, values in alone.statistics.items():
        np.testing.assert_array_equal(found.statistics[name], values)
    assert found.samples == alone.samples
    assert stages["generating with tiny-wan-a"] == (8, 8)
