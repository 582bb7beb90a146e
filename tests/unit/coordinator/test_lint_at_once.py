"""`spec lint` tells all mistakes of a file in one run, and what it knows of models without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.specs import TOML
from vdb_coordinator.commands.spec_checks import checked, checked_text
from vdb_coordinator.commands.spec_models import model_advice
from vdb_shared.errors import SpecError
from vdb_shared.spec import parse_spec_toml


def fields(text: str) -> set[str]:
    """Return the fields that are refused in one run."""
    with pytest.raises(SpecError) as refusal:
        checked_text(text, "spec.toml")
    return {mistake.field for mistake in (refusal.value, *refusal.value.others)}


def changed(*changes: tuple[str, str]) -> str:
    """Return a spec's text in which each of these stands for the first of those."""
    text = TOML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


FOLLOWING = (
    ("minimum = 4", "minimum = 3\nmistake = 1"),
    ("collusion = 1", "collusion = 2"),
    ("frames = 9", "frames = 8"),
    ("private_share = 0.25", ""),
    (
        'id = "clip-score@1"\ninputs = "private"\nextractor = "clip-tiny"',
        'id = "clip-score@1"\ninputs = "private"\nlimit = 3',
    ),
    ("frechet-videomae@1", "frechet-video@1"),
)
"""Mistakes of every kind: of two fields together, of clips, of a metric's settings (two of one metric), of an unknown one."""


def test_what_follows_from_fields_is_told_at_once() -> None:
    expected = {
        "cohort.minimum",
        "generation.private_share",
        "video.frames",
        "metrics.1.extractor",
        "metrics.1.limit",
        "metrics.2.id",
    }
    assert fields(changed(*FOLLOWING).replace("mistake = 1\n", "")) == expected
    assert fields(changed(*FOLLOWING)) == expected | {"cohort.mistake"}, "a field that is none hides nothing"
    unpinned = changed(*FOLLOWING).replace("mistake = 1\n", "").replace("sha256:" + "b" * 64, "unpinned")
    assert fields(unpinned) == expected | {"models.1.manifest"}, "and a digest to be written in hides nothing"


def test_a_misspelt_field_is_taken_for_the_one_that_was_meant() -> None:
    """Else its absence would hide what follows from the others."""
    assert fields(changed(("dropout = 0.2", "dropuot = 0.2"), ("frames = 9", "frames = 8"))) == {
        "cohort.dropuot",
        "video.frames",
    }


def test_a_value_that_has_no_place_in_a_spec_hides_no_other_mistake() -> None:
    wrong = (("epsilon = 8", "epsilon = [nan, 8]\nmistake = 1"), ("frames = 9", "frames = 99999999999999999999"))
    assert fields(changed(*wrong)) == {"privacy.epsilon.0", "privacy.mistake", "video.frames"}


def test_each_mistake_is_told_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(changed(("frames = 9", "frames = 8")))
    with pytest.raises(SpecError) as refusal:
        checked(path)
    assert refusal.value.others == (), "two models are made with the one wrong field"
    assert str(refusal.value).startswith(f"{path}:{TOML.splitlines().index('frames = 9') + 1}: video.frames: ")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("svd-xtt", "did you mean svd-xt (stabilityai/stable-video-diffusion-img2vid-xt)?"),
        ("cogvideo-5b", "did you mean cogvideox-5b (THUDM/CogVideoX-5b)?"),
        ("our-own-model", "see `vdb-participant models list`"),
    ],
)
def test_a_model_that_nobody_knows_is_told_with_the_one_that_was_meant(wrong: str, meant: str) -> None:
    spec = parse_spec_toml(changed(("tiny-wan-a", wrong), ("tiny-wan-b", "wan2.1-t2v-14b")))
    (told,) = model_advice(spec)
    assert told.startswith(f"models.0.id: {wrong} is no model of the registry that comes with this program; {meant}")
    spec = parse_spec_toml(changed(("tiny-wan-a", "ltx-2"), ("tiny-wan-b", "wan2.1-t2v-14b")))
    (told,) = model_advice(spec)
    assert told.startswith("models.0.pipeline: the registry has ltx-2 as ")


def test_a_repository_in_the_place_of_an_id_is_answered_with_the_id() -> None:
    text = changed(('"tiny-wan-a"', '"stable-video-diffusion/img2vid-xtt"'), ("frames = 9", "frames = 8"))
    with pytest.raises(SpecError, match=r"did you mean svd-xt \(stabilityai/stable-video-diffusion-img2vid-xt\)\?$"):
        checked_text(text, "spec.toml")
