"""Remote code: JSON of a folder of weights can have a library fetch and run modules; no folder with such JSON is loaded."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers.dynamic_module_utils as dynamic
from diffusers import WanPipeline
from huggingface_hub import constants, get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from vdb_participant.generation.loading import load_pipeline
from vdb_participant.measure.extractors.loading import attempt
from vdb_participant.models import Weights, inspect_weights
from vdb_participant.remote_code import nothing_fetched
from vdb_shared.errors import ModelError

INDEX = {
    "_class_name": "WanPipeline",
    "_diffusers_version": "0.35.0",
    **{part: [None, None] for part in ("text_encoder", "vae", "transformer", "scheduler")},
    "tokenizer": ["transformers", "Qwen2VLProcessor"],
}
NAMES_CODE = {"auto_map": {"AutoImageProcessor": "attacker/repo--ip.X"}, "image_processor_type": "X"}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder without a line of code, whose index is of the agreed class and whose tokenizer names code elsewhere."""
    folder = tmp_path / "wan"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (folder / "tokenizer" / "preprocessor_config.json").write_text(json.dumps(NAMES_CODE))
    (folder / "w.safetensors").write_bytes(bytes(16))
    return folder


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Return whether the attacker's code ran: it lies in the hub's cache, as if it had been fetched. And "y" is typed ahead."""
    mark, commit = tmp_path / "ran", "0" * 40
    repository = tmp_path / "hub" / "models--attacker--repo"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "ip.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass X:\n    pass\n")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the test itself asks nobody either
    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    return mark.exists


def test_a_folder_without_code_runs_code_where_nothing_is_in_the_way(weights: Path, ran: Callable[[], bool]) -> None:
    """The attack that each protection below has to stop."""
    with pytest.raises((OSError, ValueError, TypeError, AttributeError)):  # X is no processor; it need not be
        WanPipeline.from_pretrained(weights, local_files_only=True, use_safetensors=True, trust_remote_code=False)
    assert ran()


def test_such_a_folder_is_refused_before_anything_is_loaded(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"auto_map names code from elsewhere.*; take auto_map out if") as refusal:
        inspect_weights(weights)
    assert str(weights / "tokenizer" / "preprocessor_config.json") in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_libraries_find_no_answer_while_they_load(weights: Path, ran: Callable[[], bool]) -> None:
    """The second protection, for keys that nobody knew of: as if the folder had passed."""
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_pipeline(Weights(weights, "sha256:" + "a" * 64, {}), "WanPipeline", None, {"default": "float32"})
    with pytest.raises(ModelError, match="cannot be loaded"):
        attempt(weights, lambda: transformers_processor(weights / "tokenizer"))
    assert not ran()
    assert sys.stdin.readline() == "y\n"


def transformers_processor(folder: Path) -> Any:
    import transformers  # noqa: PLC0415 - as extractors load it

    return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)


def test_the_hub_is_asked_nothing_while_libraries_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with nothing_fetched(), pytest.raises(OfflineModeIsEnabled):
        get_session().get("http://127.0.0.1:9/")
    assert not constants.HF_HUB_OFFLINE
    with pytest.raises(ModelError), nothing_fetched():
        raise ModelError("no")
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"auto_map": {"AutoConfig": "attacker/repo--m.C"}}'),
        ("text_encoder/config.json", '{"text_config": [{"auto_map": {"AutoModel": "m.M"}}]}'),
        ("tokenizer/tokenizer_config.json", '{"auto_map": ["attacker/repo--tok.X", null]}'),
        ("tokenizer/tokenizer_config.json", '{"auto\\u005fmap": ["attacker/repo--tok.X", null]}'),
        ("config.json", '{"auto_map": {"AutoConfig": "a/b--m.C"}, "auto_map": null}'),
        ("model_index.json", '{"_class_name": ["my_pipeline", "MyPipeline"]}'),
        ("model_index.json", '{"_class_name": "WanPipeline", "custom_pipeline": "attacker/repo"}'),
        ("config.json", '{"custom_pipelines": {"x": {"impl": "m.M"}}}'),
        ("config.json", '{"trust_remote_code": true}'),
        ("config.json", '{"attn_implementation": "attacker/kernel"}'),
        ("config.json", '{"_attn_implementation": {"text_config": "attacker/kernel:forward"}}'),
        ("CONFIG.JSON", '{"auto_map": {"AutoConfig": "attacker/repo--m.C"}}'),
    ],
)
def test_whatever_names_code_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "w.safetensors").write_bytes(bytes(16))
    (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match="names code from elsewhere") as refusal:
        inspect_weights(tmp_path)
    assert str(tmp_path / name) in str(refusal.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": "\udcff"}'])
def test_what_cannot_be_read_as_json_is_refused(tmp_path: Path, text: str) -> None:
    """A reader that is less strict than ours might see a key that ours did not."""
    (tmp_path / "w.safetensors").write_bytes(bytes(16))
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=r"config\.json: is not JSON"):
        inspect_weights(tmp_path)


def test_folders_as_they_are_published_pass(tmp_path: Path) -> None:
    """An empty map, a vocabulary with such words, and the library's own ways to compute attention."""
    (tmp_path / "w.safetensors").write_bytes(bytes(16))
    (tmp_path / "vocab.json").write_text('{"auto_map": 17, "trust_remote_code": 1, "/": 2}')
    (tmp_path / "config.json").write_text(
        '{"auto_map": null, "attn_implementation": "sdpa", "_class_name": "X", "trust_remote_code": false, "a": [1]}'
    )
    assert inspect_weights(tmp_path).files


@pytest.mark.parametrize(
    ("library", "kind"),
    [
        ("torch.nn", "Linear"),
        ("my_module", "Model"),
        ("diffusers", "pipelines"),
        ("transformers", "pipeline"),
        ("__name__", "x"),
    ],
)
def test_components_are_classes_of_the_libraries_themselves(weights: Path, library: str, kind: str) -> None:
    (weights / "model_index.json").write_text(json.dumps(INDEX | {"vae": [library, kind]}))
    with pytest.raises(ModelError, match=f"vae is to be a {kind} of {library}; only classes of diffusers and transf"):
        load_pipeline(Weights(weights, "sha256:" + "a" * 64, {}), "WanPipeline", None, {"default": "float32"})
