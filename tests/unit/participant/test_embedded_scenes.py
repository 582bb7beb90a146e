"""The embedded data set: the same clips again, captions that tell what moves, sites that differ."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vdb_participant.data.dataset import Dataset
from vdb_participant.data.video import decode
from vdb_participant.embedded.scenes import (
    BACKGROUNDS,
    FRAMES,
    MOTIONS,
    PROPERTIES,
    SHAPES,
    SIZE,
    Scene,
    every_scene,
    labels_of,
    main,
    render,
    scenes,
    write_site,
)


def test_a_sites_clips_are_captioned_real_videos(site_data: Path) -> None:
    dataset = Dataset.open(site_data, frames=FRAMES)
    assert dataset.problems == ()
    assert len(dataset.records) == 12
    for record, scene in zip(dataset.records, scenes(5, 12), strict=True):
        assert record.prompt is not None
        assert record.clip is not None
        assert record.prompt.text == scene.caption
        clip = decode(record.clip)
        assert clip.frames.shape == (FRAMES, SIZE, SIZE, 3)
        assert clip.fps == 8
        assert np.abs(clip.frames.astype(int) - render(scene, 5)).mean() < 10


def test_the_same_arguments_give_the_same_files(tmp_path: Path, site_data: Path) -> None:
    write_site(tmp_path, site=5, clips=12)
    for path in (path for path in site_data.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(site_data)).read_bytes() == path.read_bytes()


def test_rendering_follows_from_scene_and_variant_alone() -> None:
    scene = Scene("cross", "cyan", "circling", "light")
    np.testing.assert_array_equal(render(scene, "one"), render(scene, "one"))
    assert not np.array_equal(render(scene, "one"), render(scene, "two"))
    assert render(scene, 3, frames=5, size=48).shape == (5, 48, 48, 3)


def test_captions_name_everything_that_differs_between_scenes() -> None:
    every = every_scene()
    assert len({scene.caption for scene in every}) == len(every) == 576
    assert Scene("circle", "red", "moving left", "dark").caption == "a red circle moving left on a dark background"
    for scene in every[::50]:
        shown = [values[place] for values, place in zip(PROPERTIES, labels_of(scene), strict=True)]
        assert all(value in scene.caption for value in shown)


def test_held_out_combinations_show_every_value_in_other_company() -> None:
    held_out = [scene for scene in every_scene() if scene.held_out]
    assert 0.05 < len(held_out) / len(every_scene()) < 0.15
    known = {(scene.shape, scene.colour, scene.motion) for scene in every_scene() if not scene.held_out}
    assert not known & {(scene.shape, scene.colour, scene.motion) for scene in held_out}
    for place, values in enumerate(PROPERTIES):
        assert {labels_of(scene)[place] for scene in held_out} == set(range(len(values)))


def test_sites_show_different_mixtures() -> None:
    shares = [
        np.array([sum(scene.shape == shape for scene in scenes(site, 200)) for shape in SHAPES]) / 200
        for site in range(4)
    ]
    for site in range(4):
        assert shares[site].argmax() == site
        for other in range(site):
            assert np.abs(shares[site] - shares[other]).sum() > 0.1
    assert len({scene.caption for scene in scenes(3, 200)}) == 200
    assert scenes(0, 200) != scenes(4, 200)
    assert not np.array_equal(render(scenes(0, 1)[0], 0), render(scenes(0, 1)[0], 1))


@pytest.mark.parametrize("motion", MOTIONS)
def test_what_moves_moves(motion: str) -> None:
    frames = render(Scene("cross", "red", motion, "dark"), 4).astype(int)
    assert np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)).min() > 0.1


def test_moving_left_is_moving_left() -> None:
    red = render(Scene("circle", "red", "moving left", "dark"), 4)[..., 0] > 150
    columns = [np.nonzero(frame)[1].mean() for frame in red]
    assert all(later < earlier for earlier, later in pairwise(columns))


def test_growing_grows_and_shrinking_shrinks() -> None:
    for motion, sign in (("growing", 1), ("shrinking", -1)):
        areas = (render(Scene("square", "red", motion, "dark"), 4)[..., 0] > 150).sum(axis=(1, 2))
        assert all(sign * (later - earlier) >= 0 for earlier, later in pairwise(areas.astype(int)))
        assert sign * (int(areas[-1]) - int(areas[0])) > 50


def test_backgrounds_differ_in_brightness() -> None:
    corners = [render(Scene("circle", "red", "growing", name), 4)[0, 0, 0].mean() for name in BACKGROUNDS]
    assert corners == sorted(corners)
    assert min(np.diff(corners)) > 30


@pytest.mark.parametrize("clips", ["0", "577", "many"])
def test_impossible_numbers_of_clips_are_a_usage_error(tmp_path: Path, clips: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), "--clips", clips])
    assert stop.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_clips_command_needs_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from vdb_participant.embedded.scenes import main; "
        f"main([{str(tmp_path)!r}, '--clips', '2']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{tmp_path}: 2 clips with their words, for --data", "False"]
    assert len(list((tmp_path / "clips").iterdir())) == 2
