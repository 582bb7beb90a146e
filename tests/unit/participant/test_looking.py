"""`data check` looks at whole clips: a contact sheet, clips that look alike, and clips that end early."""

from __future__ import annotations

import json
import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from testkit.agent_cli import run
from testkit.conditioned import keep_condition
from testkit.photographs import panned, with_noise
from testkit.specs import TOML
from vdb_participant.commands.data_checking import Wish, checked, facts
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.decoding.decoder import Decoder
from vdb_participant.data.decoding.glances import HEIGHT, PICTURES, WIDTH, small
from vdb_participant.data.looking import look
from vdb_participant.data.sheet import MOST_PAGES, ROWS, SEEN, TALLEST, enlargement, page_paths, pages_for
from vdb_participant.data.video import encode_mp4
from vdb_participant.embedded.scenes import Scene, render
from vdb_shared.errors import UsageError
from vdb_shared.spec import Prompt, Spec, parse_spec_toml

NOWHERE = Path("/nonexistent/models")


def _told(_stage: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with three clips, one of them twice in other bytes, and one that ends early."""
    clips = tmp_path / "data" / "clips"
    clips.mkdir(parents=True)
    for name in ("astronaut", "coffee", "chelsea"):
        encode_mp4(clips / f"{name}.mp4", panned(frames=20, height=160, width=200, photograph=name), fps=10)
    again = with_noise(panned(frames=20, height=160, width=200, photograph="coffee"), 4)
    encode_mp4(clips / "again.mp4", np.ascontiguousarray(again[:, ::2, ::2]), fps=5)
    return clips.parent


def _with_early_end(data: Path) -> Path:
    """Add a clip that is damaged after two thirds of its bytes; ffv1 has checksums."""
    path = data / "clips" / "early.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv444p"
        for picture in render(Scene("cross", "green", "circling", "light"), 0, frames=12, size=64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")))
        container.mux(stream.encode())
    whole = bytearray(path.read_bytes())
    start = len(whole) * 2 // 3
    whole[start : start + 40] = bytes(40)
    path.write_bytes(whole)
    return path


def test_a_glance_shows_even_places_of_the_whole_clip(tmp_path: Path) -> None:
    numbers = np.arange(100, dtype=np.uint8)
    frames = np.broadcast_to((2 * numbers + 20)[:, None, None, None], (100, 64, 96, 3))
    encode_mp4(tmp_path / "ramp.mp4", np.ascontiguousarray(frames), fps=25)
    with Decoder() as decoder:
        found = decoder.glance(tmp_path / "ramp.mp4")
    assert (found.frames, found.height, found.width, found.fps, found.ended) == (100, 64, 96, Fraction(25), "")
    assert found.pictures.shape == (PICTURES, 64, 96, 3)
    assert np.abs(np.array(found.numbers) - np.linspace(0, 99, PICTURES)).max() <= 100 / 32
    shades = found.pictures.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shades, 2 * np.array(found.numbers) + 20, atol=3)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(64, 96, (64, 96)), (1080, 1920, (96, 171)), (100, 4000, (4, 176)), (4000, 10, (96, 1))],
)
def test_small_pictures_keep_their_shape(height: int, width: int, expected: tuple[int, int]) -> None:
    assert small(height, width) == expected


def test_what_looks_alike_is_told_and_stays(data: Path) -> None:
    dataset = Dataset.open(data)
    found = look(dataset, None, NOWHERE, None, _told)
    assert found.alike == (("clips/again.mp4", "clips/coffee.mp4"),)
    assert (found.public, found.unseen, found.broken, found.sheets) == ((), 0, (), ())
    assert len(dataset.clips) == 4


def test_a_clip_that_ends_early_is_named(data: Path) -> None:
    path = _with_early_end(data)
    dataset = Dataset.open(data, frames=3)
    assert path.resolve() in dataset.clips
    (problem,) = look(dataset, None, NOWHERE, None, _told).broken
    assert problem.file == "clips/early.mkv"
    assert problem.reason.startswith("after ")


def _spec(*conditions: str) -> Spec:
    prompts = [
        Prompt(id=f"p{number}", text=f"words {number}", condition=item) for number, item in enumerate(conditions)
    ]
    return parse_spec_toml(TOML, file="spec.toml").model_copy(update={"prompts": tuple(prompts)})


def test_public_files_of_the_spec_are_found_in_the_data(data: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    other = tmp_path / "other.mp4"
    encode_mp4(other, panned(frames=20, height=160, width=200, photograph="astronaut")[:, ::2, ::2], fps=20)
    picture = tmp_path / "picture.png"
    Image.fromarray(panned(frames=20, height=160, width=200, photograph="chelsea")[10]).save(picture)
    same, alike, shown = (keep_condition(models, path) for path in (data / "clips" / "coffee.mp4", other, picture))
    absent = "sha256:" + "0" * 64
    found = look(Dataset.open(data), _spec(same, alike, absent, shown), models, None, _told)
    assert found.unseen == 1
    assert {(item.file, item.prompt, item.digest, item.same) for item in found.public} == {
        ("clips/coffee.mp4", "p0", same, True),
        ("clips/again.mp4", "p0", same, False),
        ("clips/astronaut.mp4", "p1", alike, False),
        ("clips/chelsea.mp4", "p3", shown, False),
    }


def test_a_public_file_that_is_not_here_is_known_by_its_digest(data: Path, tmp_path: Path) -> None:
    digest = keep_condition(_made(tmp_path / "elsewhere"), data / "clips" / "coffee.mp4")
    found = look(Dataset.open(data), _spec(digest), NOWHERE, None, _told)
    assert [(item.file, item.same) for item in found.public] == [("clips/coffee.mp4", True)]
    assert found.unseen == 1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_sheet_shows_every_clip_in_its_row(data: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(data)
    (path,) = look(dataset, None, NOWHERE, tmp_path / "sheet.png", _told).sheets
    assert path.stat().st_mode & 0o777 == 0o600
    with Image.open(path) as page:
        pixels = np.asarray(page.convert("RGB")).astype(int)
    with Decoder() as decoder:
        for row, clip in enumerate(dataset.clips):
            glance = decoder.glance(clip)
            height, width = glance.pictures.shape[1:3]
            top, left = 56 + row * (HEIGHT + 20) + (HEIGHT - height) // 2, 16 + 300 + (WIDTH - width) // 2
            for place, picture in enumerate(glance.pictures):
                start = left + place * (WIDTH + 4)
                shown = pixels[top : top + height, start : start + width]
                # The frame's number covers a corner.
                assert (shown[: height - 20] == picture[: height - 20]).all(), (clip.name, place)
            words = pixels[56 + row * (HEIGHT + 20) : 56 + row * (HEIGHT + 20) + 80, 16:300]
            assert (words < 120).any()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["data", "sheet.png"]


@pytest.mark.parametrize(
    ("height", "width", "times"),
    [
        (16, 16, 6),
        (32, 32, 3),
        (1, 1, 96),
        (64, 64, 2),
        (64, 48, 2),
        (24, 40, 4),  # as many times as there is room for
        (64, 96, 1),
        (90, 90, 1),
        (96, 171, 1),
        (4, 176, 1),
        (96, 1, 1),
    ],
)
def test_small_pictures_are_enlarged_by_whole_factors_as_far_as_there_is_room(
    height: int, width: int, times: int
) -> None:
    assert enlargement(height, width) == times
    assert times * height <= TALLEST
    assert times * width <= WIDTH


@pytest.mark.parametrize("size", [16, 32, 64])
def test_a_person_sees_more_than_dots_of_small_clips(tmp_path: Path, size: int) -> None:
    clips = tmp_path / "data" / "clips"
    clips.mkdir(parents=True)
    encode_mp4(clips / "small.mp4", render(Scene("cross", "green", "circling", "light"), 0, frames=9, size=size), fps=8)
    encode_mp4(clips / "usual.mp4", panned(frames=20, height=160, width=200, photograph="coffee"), fps=10)
    dataset = Dataset.open(tmp_path / "data")
    (path,) = look(dataset, None, NOWHERE, tmp_path / "sheet.png", _told).sheets
    with Image.open(path) as page:
        pixels = np.asarray(page.convert("RGB"))
    with Decoder() as decoder:
        small_one, usual = (decoder.glance(clip).pictures for clip in dataset.clips)
    times = -(-SEEN // size)
    side = times * size
    assert side >= 96
    top = 56
    for place, picture in enumerate(small_one):
        left = 16 + 300 + place * (WIDTH + 4) + (WIDTH - side) // 2
        shown = pixels[top : top + side, left : left + side]
        assert (shown[: side - 20] == np.kron(picture, np.ones((times, times, 1), np.uint8))[: side - 20]).all()
    below = top + side + 20
    assert pixels.shape[0] == below + HEIGHT + 20 + 16
    height, width = usual.shape[1:3]
    left = 16 + 300 + (WIDTH - width) // 2
    assert (pixels[below : below + height - 20, left : left + width] == usual[0][: height - 20]).all()


def test_pages_follow_each_other_and_end_somewhere(data: Path, tmp_path: Path) -> None:
    for number in range(ROWS):
        shutil.copy(data / "clips" / "coffee.mp4", data / "clips" / f"more-{number:02d}.mp4")
        with (data / "clips" / f"more-{number:02d}.mp4").open("ab") as stream:
            stream.write((16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
    found = look(Dataset.open(data), None, NOWHERE, tmp_path / "sheet.png", _told)
    assert [path.name for path in found.sheets] == ["sheet.png", "sheet-2.png"]
    heights = [Image.open(path).height for path in found.sheets]
    assert heights[0] - heights[1] == (ROWS - 4) * (HEIGHT + 20)
    assert pages_for(10**6) == MOST_PAGES
    assert len(page_paths(tmp_path / "sheet.png", data, 10**6)) == MOST_PAGES


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("data/sheet.png", "lies in the data directory, which is never written to; choose another place"),
        ("data/clips/../sheet.png", "lies in the data directory"),
        ("link/sheet.png", "lies in the data directory"),
        ("sheet.jpg", "a contact sheet is a PNG file; name it so"),
        ("nowhere/sheet.png", "expected a folder to write into, found none; make it first"),
    ],
)
def test_a_sheet_goes_where_it_may(data: Path, tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "link").symlink_to(data / "clips")
    before = sorted(data.rglob("*"))
    with pytest.raises(UsageError, match=reason):
        look(Dataset.open(data), None, NOWHERE, tmp_path / place, _told)
    assert sorted(data.rglob("*")) == before


def test_data_check_says_all_of_it_and_keeps_it_out_of_the_log(data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(TOML)
    words = ("data", "check", data, "--spec", spec, "--models", tmp_path / "models")
    done = run(*words, "--sheet", tmp_path / "sheet.png")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-5:] == [
        "look alike: clips/again.mp4, clips/coffee.mp4",
        "clips that look alike are a record each; if they are one video, keep one of them",
        f"contact sheet {tmp_path}/sheet.png",
        "it shows your videos, and only you can read it; delete it once you have looked",
        f"cannot serve the spec: {data}: the spec needs prompts, found none that can be used",
    ]
    for name in ("again", "astronaut", "coffee", "chelsea"):
        assert name not in done.stderr
    found = json.loads(run(*words, "--json").stdout)
    assert found["lacks"].endswith("the spec needs prompts, found none that can be used")
    assert found["alike"] == [["clips/again.mp4", "clips/coffee.mp4"]]
    assert (found["public"], found["not_here"], found["broken"], found["sheets"]) == ([], 0, [], [])


def test_a_name_that_is_no_text_is_shown_by_its_bytes(data: Path, tmp_path: Path) -> None:
    (data / "clips" / "again.mp4").rename(os.fsdecode(os.fsencode(data / "clips") + b"/caf\xe9\x1b.mp4"))
    done = run("data", "check", data, "--sheet", tmp_path / "sheet.png")
    assert (done.returncode, (tmp_path / "sheet.png").is_file()) == (1, True), done.stderr
    assert "not used: clips/caf\\xe9\ufffd.mp4: has a name that is not UTF-8; rename it\n" in done.stdout
    (problem,) = json.loads(run("data", "check", data, "--quick", "--json").stdout)["problems"]
    assert problem == {"file": "clips/caf\\xe9\x1b.mp4", "reason": "has a name that is not UTF-8; rename it"}


def test_a_quick_check_looks_at_no_whole_clip(data: Path, tmp_path: Path) -> None:
    assert "alike" not in facts(checked(data, Wish(1, None, NOWHERE, quick=True), _told))
    with pytest.raises(UsageError, match="leave one of them out"):
        checked(data, Wish(1, None, NOWHERE, tmp_path / "sheet.png", quick=True), _told)


def test_a_wrong_place_for_a_sheet_is_refused_before_any_work(data: Path, tmp_path: Path) -> None:
    done = run("data", "check", data, "--sheet", data / "sheet.png")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {data}/sheet.png: lies in the data directory")
