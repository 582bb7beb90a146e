"""What programs that the agent starts are told: neither the passphrase nor tokens that are another model's.

Processes that make one clip together are in `test_parallel.py`, the decoder in `test_decoder_confinement.py`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testkit.mortal import Telling
from testkit.moved_keys import move_key_out
from testkit.resumable_pipelines import spec_of
from testkit.tiny import tiny_spec
from vdb_participant.environment import for_child, tokens_of
from vdb_participant.generation.external import ExternalGenerator
from vdb_participant.generation.settings import GenerationError, GenerationSettings
from vdb_participant.generation.store import ClipStore
from vdb_participant.generation.workers import Job, run_workers
from vdb_participant.measure.site import Equipment, measure_site
from vdb_participant.site.config import StateFolder
from vdb_participant.site.signing import CommandSigner, external_signer
from vdb_shared.errors import IdentityError, ModelError
from vdb_shared.identity import StatementKey
from vdb_shared.registry.rows import Registry, Row, load_registry
from vdb_shared.spec import Model
from vdb_shared.tasks import public_tasks

KEY = StatementKey.from_seed(b"an institution's key".ljust(32))
SECRETS = {"VDB_PASSPHRASE": "correct horse", "VENDOR_TOKEN": "theirs", "OTHER_TOKEN": "others'", "OWN_PIN": "needed"}
NAMES = "' '.join(sorted(set(os.environ) & {'VDB_PASSPHRASE', 'VENDOR_TOKEN', 'OTHER_TOKEN', 'OWN_PIN'}))"
TELLS = f"import os, sys; sys.exit({NAMES})"
"""A program that says in its error which of the secrets it was told."""

FACTS = """
[[models]]
id = "{}"
class = "external"
licence = {{ name = "theirs" }}
frames = 5
fps = 8
height = 32
width = 48
steps = 1
guidance = 1.0

[models.external]
"""
ROWS = 'version = "vdb-registry/1"\n' + "".join(
    f'{FACTS.format(name)}kind = "http"\nurl = "https://{name}.example/"\nrequest = {{}}\ntoken_variable = "{token}"\n'
    for name, token in (("vendor", "VENDOR_TOKEN"), ("other", "OTHER_TOKEN"), ("open", ""))
)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "theirs.toml").write_text(ROWS)
    return load_registry(tmp_path / "registry")


def command(**more: Any) -> ExternalGenerator:
    facts = {"id": "closed", "class": "external", "licence": {"name": "theirs"}, "steps": 1, "guidance": 1}
    clip = {"frames": 5, "fps": 8, "height": 32, "width": 48}
    how = {"kind": "command", "argv": [sys.executable, "-c", TELLS, "{output}"]}
    row = Row.model_validate(facts | clip | {"external": how})
    return ExternalGenerator(row, GenerationSettings(5, 32, 48, 4, 2.0, "", "exact", 8), **more)


def told_to(generator: ExternalGenerator) -> str:
    with pytest.raises(GenerationError) as refusal:
        generator.generate("a prompt", 1)
    return str(refusal.value).partition("code 1: ")[2]


def test_the_tokens_are_those_of_all_endpoints_of_the_registry(registry: Registry) -> None:
    assert tokens_of(registry) == {"vendor": "VENDOR_TOKEN", "other": "OTHER_TOKEN"}


def test_the_command_of_a_model_is_told_neither_passphrase_nor_tokens(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told_to(command(withheld=tokens_of(registry).values())) == "OWN_PIN"
    assert told_to(command()) == "OTHER_TOKEN OWN_PIN VENDOR_TOKEN"  # tokens that nobody named are not known to be any
    monkeypatch.setattr("vdb_participant.generation.external.for_child", lambda _: dict(os.environ))
    assert told_to(command()) == " ".join(sorted(SECRETS))  # what any command read before


def test_a_measurement_hands_down_the_tokens_of_all_endpoints(
    registry: Registry, tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all of the site's registry, whichever of them the spec names."""
    folder, words = tmp_path / "registry", json.dumps([sys.executable, "-c", TELLS, "{output}"])
    (folder / "closed.toml").write_text(
        f'version = "vdb-registry/1"\n{FACTS.format("closed")}kind = "command"\nargv = {words}'
    )
    row = load_registry(folder).rows["closed"]
    model = Model(id="closed", pipeline="external", manifest=row.external_digest(), frames=5)
    spec = tiny_spec(tiny_models, metrics=("temporal-flickering@1",), inputs=("public",))
    spec = spec.model_copy(update={"models": (model,)})
    store = ClipStore(tmp_path / "store")
    equipment = Equipment(tiny_models, tiny_models, "cpu", folder)
    measure_site(spec, public_tasks(spec), None, equipment, store)
    reasons = [path.read_bytes() for path in store.directory.glob("??/*.failed")]
    assert [b"code 1: OWN_PIN" in reason for reason in reasons] == [True] * len(public_tasks(spec))
    jobs: list[Job] = []

    def seen(job: Job, *_: object) -> None:
        jobs.append(job)
        raise ModelError("seen")

    monkeypatch.setattr("vdb_participant.measure.generating.run_workers", seen)
    with pytest.raises(ModelError, match="seen"):
        measure_site(spec, public_tasks(spec), None, replace(equipment, workers=2), store)
    assert [job.tokens for job in jobs] == [tokens_of(registry)]


def test_a_signer_is_told_neither_passphrase_nor_tokens(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(tmp_path)
    assert registry.own  # the folder's, which the signer's secrets follow from
    move_key_out(folder, KEY, tmp_path / "module")
    found = external_signer(folder)
    assert found is not None
    told = CommandSigner(KEY.public_key, (sys.executable, "-c", TELLS), 30, found.withheld)
    with pytest.raises(IdentityError, match=r"ended with status 1: OWN_PIN$"):
        told.sign("application/x", b"payload")
    assert found.sign("application/x", b"payload") == KEY.sign("application/x", b"payload")
    monkeypatch.setattr("vdb_participant.site.signing.for_child", lambda _: dict(os.environ))
    with pytest.raises(IdentityError, match=r"VDB_PASSPHRASE VENDOR_TOKEN$"):
        told.sign("application/x", b"payload")


def test_a_worker_keeps_the_tokens_of_its_models_alone(tmp_path: Path) -> None:
    spec = spec_of(("ltx",), prompts=1, steps=1)
    diary = tmp_path / "diary"
    for tokens, kept in (
        ({"ltx": "VENDOR_TOKEN", "other": "OTHER_TOKEN"}, {"VENDOR_TOKEN", "OWN_PIN"}),
        ({"other": "OTHER_TOKEN", "again": "VENDOR_TOKEN", "ltx": "VENDOR_TOKEN"}, {"VENDOR_TOKEN", "OWN_PIN"}),
        ({}, {"VENDOR_TOKEN", "OTHER_TOKEN", "OWN_PIN"}),  # what a worker would know unless it is told to forget
    ):
        job = Job(spec, tmp_path / "store", public_tasks(spec), Telling(1, diary), tokens=tokens)
        with pytest.raises(ModelError, match="told"):
            run_workers(job, ("cpu",), lambda _key, _failure: None)
        assert set(diary.read_text().split()) & SECRETS.keys() == kept
    assert os.environ["VDB_PASSPHRASE"] == "correct horse"  # the agent's own stays, it opens keys again


def test_everything_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/vendor")
    assert for_child(["VENDOR_TOKEN"]) == {
        name: value for name, value in os.environ.items() if name not in {"VDB_PASSPHRASE", "VENDOR_TOKEN"}
    }
