"""What a spec fixes about its clips, refused before any work when no pipeline can make it."""

from __future__ import annotations

import pytest

from testkit.specs import small_spec
from vdb_participant.generation.settings import GenerationSettings
from vdb_participant.generation.store import clip_key
from vdb_shared.errors import SpecError
from vdb_shared.registry.rows import Registry, load_registry
from vdb_shared.spec import Video
from vdb_shared.tasks import public_tasks


def test_settings_are_those_of_the_spec() -> None:
    spec = small_spec()
    settings = GenerationSettings.of(spec, spec.models[0])
    assert settings.shape == (9, 32, 32, 3)
    assert settings.to_json() == {
        "frames": 9,
        "height": 32,
        "width": 32,
        "steps": 2,
        "guidance": "2",
        "negative_prompt": "",
        "profile": "exact",
    }


@pytest.mark.parametrize(
    ("frames", "height", "width", "field", "advice"),
    [
        (8, 32, 32, "video.frames", "take 5 or 9"),
        (16, 32, 32, "video.frames", "take 13 or 17"),
        (2, 32, 32, "video.frames", "take 5 or 9"),
        (9, 40, 32, "video.height", "take 32 or 48"),
        (9, 32, 250, "video.width", "take 240 or 256"),
    ],
)
def test_impossible_clips_are_refused_with_the_field(
    frames: int, height: int, width: int, field: str, advice: str
) -> None:
    spec = small_spec(video=Video(frames=frames, height=height, width=width, fps=8))
    with pytest.raises(SpecError, match=advice) as refusal:
        GenerationSettings.of(spec, spec.models[0])
    assert refusal.value.field == field


def test_a_precision_that_changes_pixels_is_in_the_key() -> None:
    """A site that edits its row must not get clips of the other precision back from its store."""
    spec = small_spec()
    row = load_registry().rows["vdb-tiny-1"].model_copy(update={"id": spec.models[0].id})

    def name(dtype: dict[str, str], profile: str) -> str:
        registry = Registry({row.id: row.model_copy(update={"dtype": dtype})})
        settings = GenerationSettings.of(spec, spec.models[0], registry, profile)
        return clip_key(spec.digest, row.id, settings, public_tasks(spec)[0]).name

    pinned, free = {"vae": "float32", "text_encoder": "float32"}, {"vae": "float32"}
    assert name(pinned, "balanced") != name(free, "balanced")
    assert name(pinned, "exact") == name(free, "exact")
