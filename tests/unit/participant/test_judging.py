"""People's ratings at a whole site: clips that they scored are measured wherever they count, and nothing else changes."""

from __future__ import annotations

import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from testkit.ratings import Line, opinions, written
from testkit.tiny import tiny_spec
from vdb_participant.commands.local import print_evaluation
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.ratings import read_ratings
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import settings_of
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.frames import temporal_flickering
from vdb_participant.measure.site import Equipment, SiteMeasurement, measure_site
from vdb_participant.models import check_prompts_stay
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import ModelError
from vdb_shared.evaluation import evaluate
from vdb_shared.layout import layout_of
from vdb_shared.metrics.statistic import pooled
from vdb_shared.registry.rows import Registry, Row, load_registry
from vdb_shared.spec import Metric, Spec
from vdb_shared.tasks import ClipTask, public_tasks, shard

PEOPLE = tuple(f"r{number}" for number in range(12))


@pytest.fixture(scope="module")
def plain(tiny_models: Path) -> Spec:
    return tiny_spec(tiny_models, metrics=("temporal-flickering@1",), inputs=("public",), samples=2)


@pytest.fixture(scope="module")
def spec(plain: Spec) -> Spec:
    asked = (
        Metric(id="preference-bt@1", inputs="ratings"),
        Metric(id="human-correlation@1", inputs="ratings", of="temporal-flickering@1"),
    )
    return plain.model_copy(update={"metrics": (*plain.metrics, *asked)})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept between the tests, as it is between a local run, in which people are shown clips, and a session."""
    return tmp_path_factory.mktemp("store")


def measure(spec: Spec, models: Path, folder: Path, store: Path, tasks: tuple[ClipTask, ...]) -> SiteMeasurement:
    data = Dataset.open(folder, frames=spec.video.frames)
    return measure_site(spec, tasks, data, Equipment(models, models, "cpu"), ClipStore(store))


def said(spec: Spec, people: tuple[str, ...] = PEOPLE) -> list[Line]:
    return [line for line in opinions(spec, 3, PEOPLE) if line["rater"] in people]


def test_two_sites_find_what_one_finds_whoever_makes_the_clips(
    spec: Spec, tiny_models: Path, store: Path, tmp_path: Path
) -> None:
    tasks = public_tasks(spec)
    whole = measure(spec, tiny_models, written(tmp_path / "all", said(spec)), store, tasks)
    parts = tuple(
        measure(
            spec,
            tiny_models,
            written(tmp_path / str(site), said(spec, PEOPLE[site::2])),
            store,
            shard(tasks, site, 2),
        ).statistics
        for site in range(2)
    )
    together = pooled(layout_of(spec), parts)
    for name, values in whole.statistics.items():
        assert together[name] == pytest.approx(values, abs=1e-9), name
    found = evaluate(spec, together, None)
    rated = {(item.metric, item.model): item for item in found.results if item.inputs == "ratings"}
    assert len(rated) == 4
    first, second = (rated["preference-bt@1", model].value for model in ("tiny-wan-a", "tiny-wan-b"))
    assert first is not None
    assert second is not None
    assert first > 0.5 > second
    assert first + second == pytest.approx(1)


def test_the_metrics_scores_are_those_of_the_very_clips(
    spec: Spec, tiny_models: Path, store: Path, tmp_path: Path
) -> None:
    """Oracle: numpy's correlation with weights, on clips of the store and lines of the file."""
    lines = said(spec)
    found = measure(spec, tiny_models, written(tmp_path, lines), store, public_tasks(spec))
    engine = Engine(spec, ClipStore(store), settings_of(spec, load_registry(None)))
    scores = read_ratings(tmp_path / "ratings.jsonl").scores
    words = {prompt.id: prompt.text for prompt in spec.prompts}
    rows = []
    for score in scores:
        clip = ClipStore(store).get(engine.key(ClipTask(score.model, words[score.prompt], score.sample)))
        assert clip is not None
        weight = 1 / sum(other.rater == score.rater for other in scores)
        rows.append((score.model, 2 * temporal_flickering(clip.frames) - 1, 2 * score.score - 1, weight))
    wanted = [
        sum(
            weight * part
            for model, x, y, weight in rows
            if model == chosen.id
            for part in [(1, x, y, x * x, y * y, x * y)[lane]]
        )
        for chosen in spec.models
        for lane in range(6)
    ]
    assert found.statistics["ratings/raters/human-correlation@1/moments"] == pytest.approx(wanted, abs=1e-9)


def test_clips_that_people_scored_enter_no_other_sum_and_no_public_count(
    plain: Spec, spec: Spec, tiny_models: Path, store: Path, tmp_path: Path
) -> None:
    """A site whose share of public clips is empty measures them nevertheless, and its manifest does not tell."""
    (tmp_path / "none" / "clips").mkdir(parents=True)
    without = measure(spec, tiny_models, tmp_path / "none", store, ())
    found = measure(spec, tiny_models, written(tmp_path / "some", said(spec)), store, ())
    for block in layout_of(plain).blocks:
        assert not found.statistics[block.name].any()
    assert found.statistics["ratings/raters/human-correlation@1/moments"].any()
    assert found.samples == ()
    assert canonical_json(found.manifest) == canonical_json(without.manifest)
    assert not any(values.any() for values in without.statistics.values())


def test_without_a_metric_of_ratings_the_file_changes_nothing(
    plain: Spec, tiny_models: Path, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "none" / "clips").mkdir(parents=True)
    shutil.copytree(tmp_path / "none", tmp_path / "some")
    written(tmp_path / "some", said(plain))
    first, second = (
        measure(plain, tiny_models, tmp_path / name, store, public_tasks(plain)) for name in ("none", "some")
    )
    assert all(np.array_equal(values, second.statistics[name]) for name, values in first.statistics.items())
    assert first.samples == second.samples


def test_no_votes_are_said_to_be_none(spec: Spec, tiny_models: Path, store: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    found = measure(spec, tiny_models, tmp_path, store, public_tasks(spec))
    reasons = {
        item.reason for item in evaluate(spec, found.statistics, None).results if item.metric == "preference-bt@1"
    }
    assert reasons == {"0 people voted, at least 2 are needed"}


def test_the_table_says_that_people_said_so(spec: Spec, tiny_models: Path, store: Path, tmp_path: Path) -> None:
    found = measure(spec, tiny_models, written(tmp_path, said(spec)), store, public_tasks(spec))
    out = StringIO()
    print_evaluation(Console(file=out, width=200), evaluate(spec, found.statistics, None))
    text = out.getvalue()
    assert "Share of people's votes (preference-bt@1): ratings by people, higher is better" in text
    assert "Agreement of a metric with people (human-correlation@1): ratings by people, higher is better" in text
    headings = [line.split() for line in text.splitlines() if line.split()[:2] == ["Rank", "Model"]]
    assert [line[-1] for line in headings] == ["Clips", "People", "People"]


def test_which_clips_people_scored_is_not_told_to_an_address_elsewhere(spec: Spec) -> None:
    facts = {"id": "far", "class": "external", "licence": {"name": "theirs"}, "steps": 1, "guidance": 1}
    how = {"external": {"kind": "http", "url": "https://example.org/", "request": {}}}
    registry = Registry({"far": Row.model_validate(facts | {"frames": 9, "fps": 8, "height": 32, "width": 32} | how)})
    remote = spec.models[0].model_copy(update={"id": "far", "pipeline": "external"})
    far = spec.model_copy(update={"models": (remote,)})
    with pytest.raises(ModelError, match=r"which clips people scored would leave the site for https://example\.org/"):
        check_prompts_stay(far, registry)
    voted = tuple(metric for metric in spec.metrics if metric.of is None)
    check_prompts_stay(far.model_copy(update={"metrics": voted}), registry)
