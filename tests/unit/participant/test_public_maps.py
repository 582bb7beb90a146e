"""Fitting a public map: from public clips to a folder that a spec can name, and refusals of what cannot be one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from testkit.agent_cli import run
from testkit.metric_specs import FLICKERING, make_spec
from vdb_participant.commands import metrics
from vdb_participant.commands.mapping import fit_map, lines_of
from vdb_participant.commands.mapping_wishes import Plan, Wish, granted
from vdb_participant.data.video import decode, encode_mp4
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.extractors.fitting import PublicFeatures
from vdb_participant.measure.extractors.projection import Projection
from vdb_participant.measure.extractors.public_folders import Shape, public_clips, raw_extractor
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.models import inspect_weights, verify_extractors
from vdb_shared.commandline import UNUSABLE
from vdb_shared.errors import DatasetError, ModelError, UsageError
from vdb_shared.metrics.dimension import planned_noise, recommended_dimension

RAW_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
CLIPS = 64


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged encoder without its map."""
    folder = tmp_path_factory.mktemp("raw")
    for name in RAW_FILES:
        (folder / name).write_bytes((WEIGHTS / "vdb-tiny-videomae" / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    for number, scene in enumerate(scenes(1000, CLIPS)):
        encode_mp4(folder / f"{number:03}.mp4", render(scene, number), fps=8)
    return folder


@pytest.fixture(scope="module")
def fitted(raw: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("models") / "mapped"
    wish = Wish(raw, clips, output, "auto", Shape(9, (32, 32)), device="cpu")
    return output, fit_map(granted(wish, Plan(records=2000, epsilon=Decimal(4))))


def test_the_folder_holds_the_extractor_unchanged_and_the_map(raw: Path, fitted: tuple[Path, dict[str, Any]]) -> None:
    output, facts = fitted
    before, after = inspect_weights(raw), inspect_weights(output)
    assert dict(after.files) == dict(before.files) | {"projection.safetensors": after.files["projection.safetensors"]}
    assert facts["manifest"] == after.manifest != before.manifest
    assert sorted(path.name for path in output.parent.iterdir()) == ["mapped"]


def test_mapped_public_features_are_centred_along_falling_axes_and_half_of_them_within_the_ball(
    clips: Path, fitted: tuple[Path, dict[str, Any]]
) -> None:
    """Measured through the very loader that a session uses, on the very clips."""
    output, facts = fitted
    spec = make_spec([FLICKERING], dimension=facts["dimension"]).extractor("tiny-videomae")
    loaded: Any = load_extractor(inspect_weights(output), spec, "cpu")
    features = np.stack([loaded.embed_clip(decode(path).frames) for path in public_clips(clips, 16)])
    assert features.shape == (CLIPS, facts["dimension"])
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-6)
    covariance = np.cov(features, rowvar=False, ddof=0)
    tensors = load_file(output / "projection.safetensors")
    np.testing.assert_allclose(np.diag(covariance), tensors["eigenvalues"][: facts["dimension"]], rtol=1e-4)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-5)
    assert (np.diff(tensors["eigenvalues"]) <= 0).all()
    assert np.median(np.linalg.norm(features, axis=1)) == pytest.approx(1, rel=1e-6)
    assert facts["explained"] == f"{np.diag(covariance).sum() / tensors['eigenvalues'].sum():.4f}"


def test_auto_is_the_rule_for_the_planned_noise(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, facts = fitted
    tensors = load_file(output / "projection.safetensors")
    noise = planned_noise(2000, 1.2679)
    assert facts["noise"] == f"{noise:.3g}"
    fewest = tensors["eigenvalues"][: CLIPS // 2]
    assert facts["dimension"] == facts["recommended"] == recommended_dimension(fewest.tolist(), noise)


def test_the_lines_for_a_spec_are_lines_that_a_spec_takes(fitted: tuple[Path, dict[str, Any]]) -> None:
    output, facts = fitted
    lines = lines_of(facts).split("\n\n", 1)[1]
    found, base = tomllib.loads(lines), make_spec([FLICKERING])
    values = base.model_dump(mode="json") | {"extractors": found["extractors"], "metrics": found["metrics"]}
    spec = type(base).model_validate_json(json.dumps(values))
    assert verify_extractors(spec, output.parent, {"mapped"})["mapped"].manifest == facts["manifest"]


def test_a_metric_that_needs_a_map_is_refused_where_the_folder_has_none(raw: Path) -> None:
    name = "tiny-videomae"
    values = make_spec([{"id": "dp-fvd@1", "inputs": "public", "extractor": name}], dimension=64).model_dump(
        mode="json"
    )
    values["extractors"] = [
        {"id": raw.name, "architecture": "VideoMAEModel", "manifest": inspect_weights(raw).manifest, "dimension": 64}
    ]
    values["metrics"][0]["extractor"] = raw.name
    spec = type(make_spec([FLICKERING])).model_validate_json(json.dumps(values))
    with pytest.raises(ModelError, match=r"dp-fvd@1 needs a public map.*fit-map"):
        verify_extractors(spec, raw.parent, {raw.name})
    assert verify_extractors(spec, raw.parent, set()) == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimension": "64"}, r"64 public clips .* at most 32 axes, 64 are asked for; add clips"),
        ({"dimension": "17"}, "--dimension 17: expected 16, 32, 64, 128 or auto"),
        ({"dimension": "auto"}, "--dimension auto: needs --records and --epsilon"),
        ({"records": 10}, "--records and --epsilon: go together"),
        ({"noise": 0.1, "records": 10}, "--noise: excludes"),
        ({"epsilon": "x"}, "--epsilon x: expected a number"),
        ({"epsilon": "0", "records": 10}, "--epsilon 0: expected a number above 0"),
        ({"frames": 30}, r"000\.mp4: has 9 frames, 30 are needed"),
        ({"height": 30}, "--height and --width: go together"),
    ],
)
def test_wrong_options_are_named_and_leave_nothing(
    raw: Path, clips: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises((UsageError, DatasetError), match=words):
        metrics.fit_map(raw, clips, tmp_path / "out", **{"dimension": "16", "device": "cpu"} | options)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_what_a_spec_needs(raw: Path, clips: Path, tmp_path: Path) -> None:
    done = run("metrics", "fit-map", raw, clips, "-o", tmp_path / "out", "--dimension", "16", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["manifest"] == inspect_weights(tmp_path / "out").manifest


REFUSED = {
    "a map already": "holds projection.safetensors already",
    "no weights": "none: expected the folder of an extractor's weights, found none",
    "a file": "config.json: expected the folder of an extractor's weights, found none",
    "an empty folder": "empty: expected the folder of an extractor's weights, found no .safetensors file in it",
    "another architecture": "--architecture Foo: no such architecture; known are CLIPModel, ",
    "no clips": "none: expected a folder of public clips, found none",
    "no videos": "empty: has no videos",
    "too few clips": "64 public clips serve for at most 32 axes, 64 are asked for; add clips",
    "not new": "empty: exists already",
    "nowhere to write": "a: expected a folder to write into",
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_status_2_before_a_framework_is_loaded(
    raw: Path, clips: Path, tmp_path: Path, case: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "a map already": (WEIGHTS / "vdb-tiny-videomae", clips, tmp_path / "out"),
        "no weights": (tmp_path / "none", clips, tmp_path / "out"),
        "a file": (raw / "config.json", clips, tmp_path / "out"),
        "an empty folder": (tmp_path / "empty", clips, tmp_path / "out"),
        "no clips": (raw, tmp_path / "none", tmp_path / "out"),
        "no videos": (raw, tmp_path / "empty", tmp_path / "out"),
        "not new": (raw, clips, tmp_path / "empty"),
        "nowhere to write": (raw, clips, tmp_path / "a" / "out"),
    }
    source, public, output = places.get(case, (raw, clips, tmp_path / "out"))
    options = {"another architecture": ["--architecture", "Foo"], "too few clips": ["--dimension", "64"]}.get(case, [])
    options = options if "--dimension" in options else ["--dimension", "16", *options]
    words = ["metrics", "fit-map", source, public, "-o", output, *options]
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stdout.write(str('torch' in sys.modules)))\n"
        f"sys.argv = {['vdb-participant', *map(str, words)]!r}\n"
        "from vdb_participant.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (UNUSABLE, "False"), done.stderr
    assert REFUSED[case] in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_weights_that_do_not_fit_their_architecture_are_a_failure(raw: Path, clips: Path, tmp_path: Path) -> None:
    wish = Wish(raw, clips, tmp_path / "out", "16", architecture="VJEPA2Model", device="cpu")
    with pytest.raises(ModelError, match="VJEPA2Model"):
        fit_map(granted(wish, Plan()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["nan", "same", "one"])
def test_features_without_a_spread_are_refused(case: str) -> None:
    values = np.random.default_rng(1).normal(size=(40, 20))
    match case:
        case "nan":
            values[7, 3] = np.nan
            words = "public clip 8: its features are not finite"
        case "same":
            values[:] = values[0]
            words = "all have the same features"
        case _:
            values = values[:1]
            words = "at least 2 public clips"
    with pytest.raises(UsageError, match=words):
        PublicFeatures.of(values)


def test_a_map_is_of_no_use_to_what_sees_no_whole_clips() -> None:
    with pytest.raises(UsageError, match="name it with --architecture, as specs do"):
        raw_extractor(WEIGHTS / "vdb-tiny-clip")


def test_eigenvalues_do_not_hinder_loading(tmp_path: Path) -> None:
    tensors = PublicFeatures.of(np.random.default_rng(2).normal(size=(80, 24))).tensors(16)
    save_file(tensors, tmp_path / "projection.safetensors")
    assert Projection.load(tmp_path, 16).basis.shape == (24, 16)
