"""Presets, configuration, logs."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from vdb_coordinator.commands.presets import pin_weights, preset_names, read_preset
from vdb_coordinator.commands.spec_checks import advice, checked
from vdb_coordinator.config import Home, join_address, split_address
from vdb_coordinator.identity.founding import new_config
from vdb_coordinator.serving.log import make_log
from vdb_shared.errors import ModelError, SpecError, UsageError
from vdb_shared.spec import parse_spec_toml
from vdb_shared.weights import UNPINNED, manifest_of


def weights(preset: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part in read_preset(preset).split(f'manifest = "{UNPINNED}"')[:-1]:
        directory = folder / part.rpartition('id = "')[2].partition('"')[0]
        directory.mkdir(parents=True)
        (directory / "model.safetensors").write_bytes(directory.name.encode())
    return folder


@pytest.mark.parametrize("preset", preset_names())
def test_presets_are_in_order_once_their_weights_are_pinned(preset: str, tmp_path: Path) -> None:
    models = weights(preset, tmp_path / "models")
    path = tmp_path / "spec.toml"
    path.write_text(pin_weights(read_preset(preset), models))
    spec, terms = checked(path)
    pinned = {item.id: item.manifest for item in spec.models} | {item.id: item.manifest for item in spec.extractors}
    assert {name: pinned[name] for name in (place.name for place in models.iterdir())} == {
        place.name: manifest_of(place)[1] for place in models.iterdir()
    }
    assert terms.calibration.noised
    assert UNPINNED not in path.read_text()


@pytest.mark.parametrize("preset", preset_names())
def test_pinning_changes_nothing_but_manifests(preset: str, tmp_path: Path) -> None:
    before = read_preset(preset).splitlines()
    after = pin_weights(read_preset(preset), weights(preset, tmp_path)).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == sum(line == f'manifest = "{UNPINNED}"' for line in before)
    assert all(new.startswith('manifest = "sha256:') for _, new in changed)


def test_the_demo_is_what_make_demo_needs() -> None:
    spec = parse_spec_toml(read_preset("demo"))
    assert (spec.cohort.minimum, spec.cohort.collusion) == (4, 1)
    assert [model.id for model in spec.models] == ["vdb-tiny-1", "vdb-tiny-2", "vdb-tiny-3"]
    assert len(spec.prompts) == 24
    assert {(metric.id, metric.inputs) for metric in spec.metrics} >= {
        ("dp-fvd@1", "public"),
        ("mmd-rff@1", "public"),
        ("clip-score@1", "private"),
    }


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"wan2\.1-t2v-1\.3b"):
        pin_weights(read_preset("text-to-video"), tmp_path)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="demo, text-to-video"):
        read_preset("../../etc/passwd")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('manifest = "sha256', 'manifest = "unpinned" # "', "models.0.manifest.*spec init PRESET --models"),
        ("steps = 12", "stepz = 12", "generation.stepz.*not a field"),
        ("steps = 12", "steps = 0", "generation.steps"),
        ("bandwidth = 0.5", "", "metrics.4.bandwidth.*missing"),
        ("epsilon = 8", "epsilon = = 8", "not TOML"),
        ("minimum = 4", "minimum = 2", "cohort.minimum"),
    ],
    ids=["unpinned", "misspelt", "range", "catalogue", "syntax", "cohort"],
)
def test_mistakes_are_named_with_file_line_and_field(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(read_preset("demo").replace(old, new, 1))
    with pytest.raises(SpecError, match=words) as caught:
        checked(path)
    assert caught.value.file == str(path)
    assert caught.value.line is not None
    assert caught.value.line > 1


def test_the_flagship_without_its_companion_or_on_private_prompts_is_advised_against(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    text = read_preset("demo")
    path.write_text(text)
    assert advice(checked(path)[0]) == []
    start = text.index('[[metrics]]\nid = "mmd-rff@1"')
    path.write_text(text[:start] + text[text.index("[[metrics]]", start + 1) :])
    (missing,) = advice(checked(path)[0])
    assert "dp-fvd@1 on vdb-tiny-videomae has no companion; add mmd-rff@1" in missing
    path.write_text(text.replace('id = "dp-fvd@1"\ninputs = "public"', 'id = "dp-fvd@1"\ninputs = "private"'))
    (noisy,) = advice(checked(path)[0])
    assert "with public prompts only the reference side does" in noisy


def test_a_promise_that_every_reader_would_refuse_is_advised_against(tmp_path: Path) -> None:
    """Such a session costs everybody its epsilon for a result that fails the audit of whoever has no policy of their own."""
    path, text = tmp_path / "spec.toml", read_preset("demo")
    (epsilon,) = re.findall(r"^epsilon = .*$", text, re.MULTILINE)
    path.write_text(text.replace(epsilon, 'epsilon = "16"'))
    assert advice(checked(path)[0]) == []
    path.write_text(text.replace(epsilon, 'epsilon = "20"'))
    (weak,) = advice(checked(path)[0])
    assert weak.startswith("ε is 20, above 16, which is as much as an audit accepts unasked")


def test_a_directory_without_configuration_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"vdb-coordinator init DIR.*VDB_COORDINATOR"):
        Home(tmp_path).read_config()


@pytest.mark.parametrize("line", ['surplus = "x"', 'address = "nonsense"', "admins = []", "surplus = = 1"])
def test_a_wrong_configuration_names_its_field(tmp_path: Path, line: str) -> None:
    name = line.split(" =", maxsplit=1)[0]
    (tmp_path / "coordinator.toml").write_text(
        "\n".join(
            item
            for item in (
                'version = "vdb-coordinator/1"',
                'consortium = "demo"',
                'address = "a:1"',
                'listen = "a:1"',
                'admins = ["spiffe://demo/admin/lead"]',
            )
            if not item.startswith(f"{name} =")
        )
        + f"\n{line}\n"
    )
    with pytest.raises(UsageError, match="not TOML" if "= =" in line else name):
        Home(tmp_path).read_config()


def test_addresses_split_and_join() -> None:
    assert split_address("vdb.example.org:7443") == ("vdb.example.org", 7443)
    assert join_address(*split_address("[::1]:7443")) == "[::1]:7443"
    with pytest.raises(ValueError, match="address"):
        new_config("demo", "no port", "a:1")
    with pytest.raises(ValidationError, match="99999 is no port; ports end at 65535"):
        new_config("demo", "localhost:99999", "a:1")


def test_logs_hold_allowed_fields_only() -> None:
    stream = io.StringIO()
    make_log(as_json=True, stream=stream).info(
        "event", session="sha256:1", payload=b"secret", token="secret", reason="x" * 5000
    )
    entry = json.loads(stream.getvalue())
    assert "secret" not in stream.getvalue()
    assert entry["withheld"] == 2
    assert entry["session"] == "sha256:1"
    assert len(entry["reason"]) == 400
