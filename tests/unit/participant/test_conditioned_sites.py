"""Sites whose models start from pictures and videos: from a spec and records to clips, refusals and crashes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from testkit.agent_cli import run as agent
from testkit.conditioned import conditioned_spec, picture_condition, video_condition, write_models, write_records
from testkit.crashes import Crash
from vdb_participant.commands.doctor import Subject, examine
from vdb_participant.commands.models import verified
from vdb_participant.data.conditions import public_conditions
from vdb_participant.data.dataset import Dataset
from vdb_participant.generation.checkpoints import Interval
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.generators import load_generator
from vdb_participant.generation.progress import Event, nobody
from vdb_participant.generation.settings import settings_of
from vdb_participant.generation.starts import Starts
from vdb_participant.generation.store import ClipStore, clip_key
from vdb_participant.measure.paired.pixels import psnr
from vdb_participant.measure.sample import Sample
from vdb_participant.measure.site import Equipment, SiteMeasurement, measure_site
from vdb_participant.models import CONDITIONS, manifest_digest, verify_model
from vdb_participant.session.preparation import Resources, verify_materials
from vdb_participant.site.config import StateFolder
from vdb_shared.errors import DatasetError, SpecError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Metric, Spec
from vdb_shared.tasks import ClipTask, public_tasks

WORDS = "a circle that dances"
ALL = ("tiny-wan-a", "tiny-i2v", "tiny-v2v")

LINES = [("one", "red"), ("two", "blue"), ("three", None), ("four", "green"), ("five", "green"), ("one", "yellow")]
"""Two pairs, a prompt alone, two prompts that share a clip, and words that stand twice, each time with a clip."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("conditioned"), tiny_models)


@pytest.fixture(scope="module")
def videos(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("videos")
    return video_condition(models, folder, "red"), video_condition(models, folder, "blue")


@pytest.fixture(scope="module")
def spec(models: Path, videos: tuple[str, str]) -> Spec:
    """The same words, once with each video."""
    return conditioned_spec(models, ALL, [(WORDS, videos[0]), (WORDS, videos[1])])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    colours = ("red", "blue", "green", "yellow")
    return write_records(tmp_path_factory.mktemp("records"), LINES, {colour: colour for colour in colours})


def measure(spec: Spec, models: Path, data: Path, store: Path, workers: int = 1) -> SiteMeasurement:
    return measure_site(
        spec,
        public_tasks(spec),
        Dataset.open(data, frames=9),
        Equipment(models, models, "cpu", workers=workers),
        ClipStore(store),
    )


@pytest.fixture(scope="module")
def measured(
    spec: Spec, models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SiteMeasurement, Path]:
    store = tmp_path_factory.mktemp("store")
    return measure(spec, models, data, store), store


def of(found: SiteMeasurement, side: str, model: str) -> list[Sample]:
    return [sample for sample in found.samples if (sample.side, sample.model) == (side, model)]


def test_other_pictures_and_videos_give_other_clips_and_words_alone_do_not_care(
    measured: tuple[SiteMeasurement, Path], videos: tuple[str, str]
) -> None:
    found = measured[0]
    assert not any(sample.failure for sample in found.samples)
    for model in ALL:
        assert found.statistics[f"public/{model}/count"].tolist() == [2.0, 0.0]
    for model in ("tiny-i2v", "tiny-v2v"):
        first, second = of(found, "public", model)
        assert (first.condition, second.condition) == videos
        assert first.prompt == second.prompt
        assert first.clip != second.clip
    assert len({sample.clip for sample in of(found, "public", "tiny-wan-a")}) == 1
    assert {sample.condition for sample in of(found, "public", "tiny-wan-a")} == {""}


def test_records_start_from_their_own_clips_and_those_without_make_none(
    measured: tuple[SiteMeasurement, Path],
) -> None:
    found = measured[0]
    assert [sample.prompt for sample in of(found, "private", "tiny-wan-a")] == ["one", "two", "three", "four", "five"]
    for model in ("tiny-i2v", "tiny-v2v"):
        samples = of(found, "private", model)
        assert [sample.prompt for sample in samples] == ["one", "two", "one"]
        assert len({sample.condition for sample in samples}) == len({sample.clip for sample in samples}) == 3
        assert found.statistics[f"private/{model}/count"].tolist() == [3.0, 0.0]
    assert found.private_records == {"prompts": 5, "captioned": 3, "clips": 0}


def test_the_same_clips_again_from_the_store_and_made_anew(
    measured: tuple[SiteMeasurement, Path], spec: Spec, models: Path, data: Path, tmp_path: Path
) -> None:
    found, store = measured
    before = sorted(path.name for path in store.rglob("*.clip"))
    assert measure(spec, models, data, store).samples == found.samples
    assert sorted(path.name for path in store.rglob("*.clip")) == before
    assert measure(spec, models, data, tmp_path).samples == found.samples


def test_two_workers_read_conditions_themselves(
    models: Path, data: Path, videos: tuple[str, str], tmp_path: Path
) -> None:
    spec = conditioned_spec(models, ("tiny-v2v",), [(WORDS, videos[0]), (WORDS, videos[1])])
    alone = measure(spec, models, data, tmp_path / "alone")
    together = measure(spec, models, data, tmp_path / "together", workers=2)
    assert together.samples == alone.samples
    assert len({sample.clip for sample in together.samples}) == 5


@pytest.mark.parametrize("model", ["tiny-i2v", "tiny-v2v"])
def test_a_clip_with_a_condition_survives_a_crash(
    model: str, measured: tuple[SiteMeasurement, Path], spec: Spec, models: Path, tmp_path: Path
) -> None:
    task = next(task for task in public_tasks(spec) if task.model == model)
    calm = Engine(spec, ClipStore(measured[1]))
    expected = ClipStore(measured[1]).get(calm.key(task))
    store = ClipStore(tmp_path)

    def die(event: Event) -> None:
        if event.step == 3:
            raise Crash

    with pytest.raises(Crash):
        run(spec, models, store, task, die)
    assert len(list(tmp_path.rglob("*.steps"))) == 1
    run(spec, models, store, task, nobody)
    made = store.get(calm.key(task))
    assert made is not None
    assert expected is not None
    assert made.digest == expected.digest
    assert int(made.record["resumed_steps"]) >= 1


def run(spec: Spec, models: Path, store: ClipStore, task: ClipTask, tell: Callable[[Event], None]) -> None:
    registry = load_registry()
    files = public_conditions(spec, models, registry)
    engine = Engine(spec, store, interval=Interval(1, 0), tell=tell, starts=Starts(files))
    model = next(model for model in spec.models if model.id == task.model)
    weights = verify_model(model, models, registry)
    load = partial(load_generator, weights, model, engine.settings[model.id], "cpu", None, engine.watch)
    (outcome,) = engine.run([task], load, lambda _done, _total: None)
    assert outcome.failure is None


def test_a_picture_is_a_start_too_and_a_task_decides_what_a_model_starts_from(models: Path, tmp_path: Path) -> None:
    """One class that can do all three: words alone, from a picture, and from a video's first frame or the whole."""
    picture, webp = (picture_condition(models, tmp_path, "red", suffix) for suffix in (".png", ".webp"))
    video = video_condition(models, tmp_path, "green")
    clips: dict[tuple[str | None, str], str] = {}
    for task, conditions in (
        (None, (picture,)),
        ("image-to-video", (picture, webp, video)),
        ("video-to-video", (video,)),
    ):
        prompts = [(WORDS, condition) for condition in conditions]
        spec = conditioned_spec(models, ("tiny-any",), prompts, inputs=("public",), terms={"task": task})
        found = measure_site(
            spec, public_tasks(spec), None, Equipment(models, models, "cpu"), ClipStore(tmp_path / "store")
        )
        clips |= {(task, sample.condition): sample.clip for sample in found.samples}
        assert not any(sample.failure for sample in found.samples)
    assert set(clips) == {
        (None, ""),
        *(("image-to-video", condition) for condition in (picture, webp, video)),
        ("video-to-video", video),
    }
    assert len(set(clips.values())) == 5


def test_a_video_task_and_a_picture_task_of_one_file_are_two_clips_in_the_store(models: Path, tmp_path: Path) -> None:
    video = video_condition(models, tmp_path, "green")
    keys = []
    for task in ("image-to-video", "video-to-video"):
        spec = conditioned_spec(models, ("tiny-any",), [(WORDS, video)], inputs=("public",), terms={"task": task})
        key = Engine(spec, ClipStore(tmp_path / "store")).key(public_tasks(spec)[0])
        keys.append((key.condition, dict(key.settings)["start"]))
    assert keys == [(video, "picture"), (video, "video")]


def resources(models: Path, data: Path) -> Resources:
    return Resources(data, models, "cpu")


@pytest.fixture
def own(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models, tmp_path / "models"))


def _file(models: Path, digest: str) -> Path:
    (path,) = (models / CONDITIONS).glob(f"{digest.removeprefix('sha256:')}.*")
    return path


def refusal(spec: Spec, models: Path, data: Path) -> str:
    """Return the one line with which both preparations refuse, before anything is made."""
    lines = set()
    with pytest.raises(DatasetError) as found:
        verify_materials(spec, resources(models, data))
    lines.add(str(found.value))
    store = models / "store"
    with pytest.raises(DatasetError) as found:
        measure(spec, models, data, store)
    lines.add(str(found.value))
    assert not list(store.rglob("*.clip"))
    (line,) = lines
    assert "\n" not in line
    return line


def test_a_missing_public_condition_is_found_before_any_work(
    spec: Spec, own: Path, data: Path, videos: tuple[str, str]
) -> None:
    _file(own, videos[1]).unlink()
    line = refusal(spec, own, data)
    name = own / CONDITIONS / videos[1].removeprefix("sha256:")
    assert line.startswith(f"{name}.*: expected the picture or video of prompt p1, found none; get it from the lead")


def test_a_changed_public_condition_is_found_before_any_work(
    spec: Spec, own: Path, data: Path, videos: tuple[str, str]
) -> None:
    path = _file(own, videos[0])
    shutil.copy(_file(own, videos[1]), path)
    line = refusal(spec, own, data)
    assert line == f"{path}: expected {videos[0]}, found {videos[1]}; put the file back as it was and start again"


def test_a_condition_that_no_model_can_start_from_is_found_before_any_work(
    own: Path, data: Path, tmp_path: Path
) -> None:
    picture, short = picture_condition(own, tmp_path, "red"), video_condition(own, tmp_path, "red", frames=5)
    line = refusal(conditioned_spec(own, ALL, [(WORDS, picture)]), own, data)
    assert line.endswith("is a picture, a video of 9 frames is needed; tiny-v2v cannot start from it; ask the lead")
    line = refusal(conditioned_spec(own, ALL, [(WORDS, short)]), own, data)
    assert line.endswith("has 5 frames, 9 are needed; tiny-v2v cannot start from it; ask the lead")


def test_a_public_prompt_without_a_condition_is_refused_at_the_site_too(models: Path, data: Path) -> None:
    spec = conditioned_spec(models, ALL, [(WORDS, None)])
    with pytest.raises(SpecError, match=r"prompts\.0\.condition: is missing, but models\.1 \(tiny-i2v\)"):
        verify_materials(spec, resources(models, data))


def test_private_metrics_alone_need_no_public_condition(models: Path, data: Path, tmp_path: Path) -> None:
    spec = conditioned_spec(models, ("tiny-i2v",), [(WORDS, None)], inputs=("private",))
    verify_materials(spec, resources(models, data))
    found = measure(spec, models, data, tmp_path)
    assert [(sample.side, sample.prompt) for sample in found.samples] == [
        ("private", "one"),
        ("private", "two"),
        ("private", "one"),
    ]


def test_a_site_without_captioned_clips_is_told_so(models: Path, tmp_path: Path) -> None:
    spec = conditioned_spec(models, ("tiny-i2v",), [(WORDS, None)], inputs=("private",))
    data = write_records(tmp_path / "data", [("one", None), ("two", "red"), ("three", "red")], {"red": "red"})
    with pytest.raises(DatasetError, match="the spec needs prompts with a clip of their own, found none"):
        measure(spec, models, data, tmp_path / "store")
    mixed = conditioned_spec(models, ("tiny-wan-a", "tiny-i2v"), [(WORDS, None)], inputs=("private",))
    found = measure(mixed, models, data, tmp_path / "store")
    assert found.statistics["private/tiny-i2v/count"].tolist() == [0.0, 0.0]
    assert found.statistics["private/tiny-wan-a/count"].tolist() == [3.0, 0.0]


def test_clips_too_short_for_a_model_are_no_tasks_of_it(models: Path, data: Path, tmp_path: Path) -> None:
    """Failed clips would stop the model after three in a row, and so one record would decide about another."""
    spec = conditioned_spec(
        models, ("tiny-i2v", "tiny-v2v"), [(WORDS, None)], inputs=("private",), terms={"frames": 17}
    )
    found = measure(spec, models, data, tmp_path)
    assert found.statistics["private/tiny-i2v/count"].tolist() == [3.0, 0.0]
    assert found.statistics["private/tiny-v2v/count"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_stages_that_the_lead_is_told_say_nothing_of_tasks(
    workers: int, models: Path, data: Path, tmp_path: Path
) -> None:
    """Without tasks a model would else be passed over in silence, which tells that no record could start it."""
    spec = conditioned_spec(models, ("tiny-wan-a", "tiny-i2v"), [(WORDS, None)], inputs=("private",))

    def told(folder: Path) -> set[str]:
        stages: set[str] = set()
        measure_site(
            spec,
            public_tasks(spec),
            Dataset.open(folder, frames=9),
            Equipment(models, models, "cpu", workers=workers),
            ClipStore(tmp_path / f"store of {folder.name}"),
            lambda stage, _done, _total: stages.add(stage),
        )
        return stages

    bare = write_records(tmp_path / "bare", [("one", None)], {})
    expected = {f"{work} {model}" for work in ("generating with", "measuring") for model in ("tiny-wan-a", "tiny-i2v")}
    assert told(bare) == told(data) == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_record_whose_clip_changes_while_clips_are_made_is_named(
    workers: int, models: Path, data: Path, tmp_path: Path
) -> None:
    spec = conditioned_spec(models, ("tiny-i2v",), [(WORDS, None)], inputs=("private",))
    own = Path(shutil.copytree(data, tmp_path / "data"))
    dataset = Dataset.open(own, frames=9)
    shutil.copy(own / "clips" / "green.mp4", own / "clips" / "red.mp4")
    with pytest.raises(DatasetError, match=r"red\.mp4: expected sha256:\w+, found sha256:\w+; put the file back"):
        measure_site(
            spec, (), dataset, Equipment(models, models, "cpu", workers=workers), ClipStore(tmp_path / "store")
        )


def test_the_command_line_says_it_in_one_line(spec: Spec, own: Path, data: Path, videos: tuple[str, str]) -> None:
    _file(own, videos[0]).unlink()
    (own / "spec.json").write_bytes(spec.canonical())
    done = agent("--dir", own / "state", "run", own / "spec.json", "--data", data, "--models", own, "--device", "cpu")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {own / CONDITIONS}/")
    assert "expected the picture or video of prompt p0, found none" in line


def test_the_folder_of_conditions_is_none_of_weights(own: Path, videos: tuple[str, str]) -> None:
    assert CONDITIONS not in verified(own, load_registry())
    subject = Subject(StateFolder(own / "state"), bytes, models=own)
    count = len(list((own / CONDITIONS).iterdir()))
    assert doctors_words(subject) == ("PASS", f"{count} pictures and videos, their names fit their bytes")
    path = _file(own, videos[0])
    path.write_bytes(b"something else")
    status, words = doctors_words(subject)
    assert status == "FAIL"
    assert words.startswith(f"{path}: expected {videos[0]}, found sha256:")


def doctors_words(subject: Subject) -> tuple[str, str]:
    (found,) = (finding for finding in examine(subject) if CONDITIONS in finding.subject)
    return found.status.value, found.words


def test_captioned_clips_count_against_the_records_that_are_allowed(models: Path, data: Path, tmp_path: Path) -> None:
    spec = conditioned_spec(models, ("tiny-i2v",), [(WORDS, None)], inputs=("private",))
    few = spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"maximum_records": 2})})
    with pytest.raises(DatasetError, match="3 records would be used, the spec allows 2"):
        measure(few, models, data, tmp_path)


def test_clips_are_compared_with_what_they_start_from(
    models: Path, videos: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    """A picture with the first frame, a video frame by frame; private clips with the site's own."""
    spec = conditioned_spec(models, ("tiny-i2v", "tiny-v2v"), [(WORDS, videos[0]), (WORDS, videos[1])])
    metrics = tuple(Metric(id=name, inputs=inputs) for name in ("psnr@1", "ssim@1") for inputs in ("public", "private"))
    compared = spec.model_copy(update={"metrics": metrics})
    found = measure(compared, models, data, tmp_path / "store")
    assert not any(sample.failure for sample in found.samples)
    store, settings = ClipStore(tmp_path / "store"), settings_of(compared)
    starts = Starts(public_conditions(compared, models, load_registry(None)))
    for model, frames in (("tiny-i2v", 1), ("tiny-v2v", 9)):
        wanted = 0.0
        for task in (task for task in public_tasks(compared) if task.model == model):
            clip = store.get(clip_key(compared.digest, manifest_digest(models / model), settings[model], task))
            start = starts.frames(task.condition, settings[model])
            assert clip is not None
            assert start is not None
            assert len(start) == frames
            wanted += psnr(clip.frames[:frames], start) / 100
        assert found.statistics[f"public/{model}/psnr@1/moments"][0] == pytest.approx(wanted, abs=1e-6)
