"""The embedded models as the package ships them: loaded by the real code, told apart in their true order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from vdb_coordinator.commands.presets import read_preset
from vdb_participant.data.video import Frames
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.cards import CARD_NAME, digests
from vdb_participant.embedded.quality import (
    Scorers,
    distance,
    fresh_clips,
    generated,
    load_pipeline,
    shuffled,
    some_scenes,
)
from vdb_participant.embedded.recipes import CLIP, GRADES, VIDEO_FEATURES, VIDEOMAE, WORD_FEATURES
from vdb_participant.embedded.scenes import FRAMES, SIZE, every_scene, labels_of
from vdb_participant.measure.extractors.images import ImageTextExtractor
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.extractors.video import VideoExtractor
from vdb_participant.models import inspect_weights, place_of
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Extractor, parse_spec_toml

NAMES = tuple(grade.name for grade in GRADES)
SCENES = some_scenes(32)
CAPTIONS = [scene.caption for scene in SCENES]
MOST_BYTES = 12 * 2**20


@pytest.fixture(scope="module")
def scorers() -> Scorers:
    return Scorers.load()


@pytest.fixture(scope="module")
def made() -> dict[str, list[Frames]]:
    """Clips of every grade for the same prompts and seeds."""
    return {name: generated(load_pipeline(name), CAPTIONS, seed=0)[0] for name in NAMES}


@pytest.mark.parametrize("name", [*NAMES, CLIP, VIDEOMAE])
def test_a_card_names_the_digest_of_every_weights_file(name: str) -> None:
    card = (WEIGHTS / name / CARD_NAME).read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `(\S+\.safetensors)` \| `([0-9a-f]{64})` \|$", card, flags=re.MULTILINE))
    assert named == digests(WEIGHTS / name)
    assert "What it is not" in card
    assert "license: apache-2.0" in card


def test_demo_and_registry_name_the_packaged_weights() -> None:
    found = {place.name: inspect_weights(place).manifest for place in WEIGHTS.iterdir()}
    spec = parse_spec_toml(read_preset("demo"))
    models = {model.id: model.manifest for model in spec.models}
    extractors = {extractor.id: extractor.manifest for extractor in spec.extractors}
    assert models | extractors == found
    rows = load_registry().rows
    assert {name: rows[name].manifest for name in NAMES} == {name: found[name] for name in NAMES}
    assert all(rows[name].packaged for name in NAMES)


def test_packaged_weights_need_no_folder_and_the_sites_own_go_before_them(tmp_path: Path) -> None:
    assert place_of(CLIP, tmp_path) == WEIGHTS / CLIP
    (tmp_path / CLIP).mkdir()
    assert place_of(CLIP, tmp_path) == tmp_path / CLIP
    assert place_of("another", tmp_path) == tmp_path / "another"


def test_prompts_of_the_demo_are_in_the_words_that_the_models_know() -> None:
    prompts = [prompt.text for prompt in parse_spec_toml(read_preset("demo")).prompts]
    assert set(prompts) <= {scene.caption for scene in every_scene()}
    assert len(set(prompts)) == len(prompts)


def test_no_file_says_where_it_was_trained() -> None:
    texts = [path.read_text(encoding="utf-8") for path in WEIGHTS.rglob("*.json")]
    assert not [text for text in texts if re.search(r'"_name_or_path": "[^"]', text)]


def test_all_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize(
    ("name", "architecture", "dimension"),
    [(CLIP, "CLIPModel", WORD_FEATURES), (VIDEOMAE, "VideoMAEModel", VIDEO_FEATURES)],
)
def test_extractors_load_as_a_spec_names_them(name: str, architecture: str, dimension: int) -> None:
    weights = inspect_weights(WEIGHTS / name)
    extractor = Extractor.model_validate(
        {"id": name, "architecture": architecture, "manifest": weights.manifest, "dimension": dimension}
    )
    loaded = load_extractor(weights, extractor, "cpu")
    clip = fresh_clips(SCENES[:1], "test")[0]
    match loaded:
        case ImageTextExtractor():
            assert loaded.embed_frames(clip).shape == (FRAMES, dimension)
            assert loaded.embed_text("a red circle").shape == (dimension,)
        case VideoExtractor():
            assert loaded.embed_clip(clip).shape == (dimension,)


def test_the_same_seed_gives_the_same_clip(made: dict[str, list[Frames]]) -> None:
    again, _ = generated(load_pipeline(NAMES[-1]), CAPTIONS[:1], seed=0)
    np.testing.assert_array_equal(again[0], made[NAMES[-1]][0])
    assert again[0].shape == (FRAMES, SIZE, SIZE, 3)


def test_the_classifier_names_what_is_rendered(scorers: Scorers) -> None:
    scenes = some_scenes(150)
    right = scorers.see(fresh_clips(scenes, "test")).named == np.array([labels_of(scene) for scene in scenes])
    assert right.mean(axis=0).min() > 0.9


def test_right_captions_of_rendered_clips_score_above_shuffled_ones(scorers: Scorers) -> None:
    clips = fresh_clips(SCENES, "test")
    right, wrong = (scorers.alignment(clips, captions).mean() for captions in (CAPTIONS, shuffled(CAPTIONS)))
    assert right > wrong + 30


def test_right_prompts_of_made_clips_score_above_shuffled_ones(scorers: Scorers, made: dict[str, list[Frames]]) -> None:
    for name in NAMES[1:]:
        right, wrong = (scorers.alignment(made[name], captions).mean() for captions in (CAPTIONS, shuffled(CAPTIONS)))
        assert right > wrong + 10


def test_grades_rank_in_their_order(scorers: Scorers, made: dict[str, list[Frames]]) -> None:
    reference = scorers.see(fresh_clips(some_scenes(300), "reference")).features
    scores = [scorers.alignment(made[name], CAPTIONS).mean() for name in NAMES]
    distances = [distance(scorers.see(made[name]).features, reference) for name in NAMES]
    assert scores == sorted(scores)
    assert distances == sorted(distances, reverse=True)
