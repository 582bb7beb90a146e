"""`models`: what is known, under which terms, and that only pinned weights without code come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.specs import small_spec
from vdb_participant.commands.models import (
    Source,
    accept_licence,
    accept_licences,
    add,
    fetch,
    known_model,
    not_accepted,
    pin,
)
from vdb_participant.generation.breaker import Breaker
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.models import manifest_digest
from vdb_participant.site.config import StateFolder
from vdb_shared.errors import ModelError, UsageError
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OWN = """\
version = "vdb-registry/1"

[[models]]
id = "mine"
class = "WanPipeline"
repository = "us/mine"
licence = { name = "ours", verified = true }
steps = 4
guidance = 2.5
frames = 9
fps = 8
height = 32
width = 32
"""


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


@pytest.fixture
def own(state: StateFolder, tmp_path: Path) -> StateFolder:
    (tmp_path / "mine.toml").write_text(OWN)
    assert add(state, tmp_path / "mine.toml") == ["mine"]
    return state


def test_list_and_show_tell_facts_licence_and_territory(own: StateFolder) -> None:
    listed = run("--dir", own.path, "models", "list").stdout.splitlines()
    assert listed[0].split() == ["Model", "Task", "Parameters", "Licence", "Clip", "Size"]
    (line,) = (line for line in listed if line.startswith("hunyuanvideo "))
    assert [cell.strip() for cell in line.split("  ") if cell] == [
        *("hunyuanvideo", "text-to-video", "12.82 B"),
        *("Tencent Hunyuan Community, not EU/UK/KR", "129@24", "720x1280"),
    ]
    assert any(line.startswith("ltx-2 ") and "121@24 with sound" in line for line in listed)
    values = {item["id"]: item for item in json.loads(run("--dir", own.path, "models", "list", "--json").stdout)}
    assert values["mine"]["own"] is True
    assert values["mine"]["guidance"] == "2.5"
    assert values["wan2.2-ti2v-5b"]["multiple"] == 32
    shown = run("--dir", own.path, "models", "show", "hunyuanvideo").stdout
    assert "not verified: read it at the repository" in shown
    assert "grants nothing in: EU, UK, KR" in shown
    failed = run("--dir", own.path, "models", "show", "nothing")
    assert failed.returncode == 2
    assert (
        failed.stderr == "error: nothing: no such model is known; see `models list`, or add a file with `models add`\n"
    )


def test_a_licence_is_accepted_before_the_first_use_and_once(
    own: StateFolder, tiny_models: Path, tmp_path: Path
) -> None:
    words = ("--dir", own.path, "models", "fetch", "mine", "--from", tiny_models / "tiny-wan-a", "--models", tmp_path)
    refused = run(*words)
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "mine: licence: ours",
        "error: mine: licence: ours; read it and say --accept-licence",
    ]
    assert not (tmp_path / "mine").exists()
    done = run(*words, "--accept-licence")
    digest = manifest_digest(tiny_models / "tiny-wan-a")
    assert done.stdout == f"{tmp_path / 'mine'}  {digest}\n"
    row = known_model(load_registry(own.registry), "mine")
    accept_licence(own, row, None, accepted=False)
    changed = row.model_copy(update={"licence": row.licence.model_copy(update={"name": "theirs"})})
    asked: list[str] = []

    def no(words: str) -> bool:
        asked.append(words)
        return False

    with pytest.raises(
        UsageError, match="mine: its licence was not accepted, so nothing was done; the same command asks again"
    ):
        accept_licence(own, changed, no, accepted=False)
    assert asked == ["licence: theirs"]
    accept_licence(own, changed, lambda _: True, accepted=False)


def test_only_models_with_a_row_are_asked_about(own: StateFolder) -> None:
    spec = small_spec()
    shown: list[str] = []
    accept_licences(own, spec, None, accepted=False, show=shown.append)
    assert shown == []
    assert not_accepted(own, spec) == {}
    models = tuple(spec.models[0].model_copy(update={"id": name}) for name in ("tiny", "mine", "hunyuanvideo"))
    spec = spec.model_copy(update={"models": models})
    with pytest.raises(UsageError, match="mine: licence: ours; read it and say --accept-licence"):
        accept_licences(own, spec, None, accepted=False, show=shown.append)
    barred = not_accepted(own, spec)
    assert list(barred) == ["mine", "hunyuanvideo"], "the first comes without a row"
    assert barred["mine"] == "licence: ours; not accepted here yet: `join` asks, and times it then"
    accept_licences(own, spec, lambda _: True, accepted=False, show=shown.append)
    assert not_accepted(own, spec) == {}
    assert [line.split(":")[0] for line in shown] == ["mine", "mine", "hunyuanvideo"]
    assert "grants nothing in: EU, UK, KR" in shown[-1]
    accept_licences(own, spec, None, accepted=False, show=shown.append)
    assert len(shown) == 3


def test_retry_forgets_the_failures_of_one_model(own: StateFolder, tiny_models: Path) -> None:
    store = ClipStore(own.clips)
    digests = [manifest_digest(tiny_models / name) for name in ("tiny-wan-a", "tiny-wan-b")]
    keys = [ClipKey(digest, f"p{number}", 1, ()) for digest in digests for number in range(3)]
    for key in keys:
        store.give_up(key, "no memory")
        Breaker(store, key.model).failed("no memory")
    done = run("--dir", own.path, "models", "retry", "tiny-wan-a", "--models", tiny_models)
    assert done.stdout == "tiny-wan-a: 3 failed clips will be made again\n", done.stderr
    assert [store.failure(key) for key in keys] == [None] * 3 + ["no memory"] * 3
    assert Breaker(store, digests[0]).stopped() is None
    assert Breaker(store, digests[1]).stopped() is not None
    assert run("--dir", own.path, "models", "retry", "nothing", "--models", tiny_models).returncode == 1


def test_fetch_copies_weights_and_settings_only(own: StateFolder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "vae").mkdir(parents=True)
    (source / ".cache").mkdir()
    for name in ("model_index.json", "vae/x.safetensors", "vae/x.bin", "run.py", ".cache/x.json", "merges.txt"):
        (source / name).write_text(json.dumps(name))
    row = known_model(load_registry(own.registry), "mine")
    place, digest = fetch(row, Source(source), tmp_path / "models")
    assert digest == manifest_digest(place)
    found = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert found == ["merges.txt", "model_index.json", "vae/x.safetensors"]
    with pytest.raises(UsageError, match="is there already"):
        fetch(row, Source(source), tmp_path / "models")
    (source / "vae" / "x.safetensors").unlink()
    with pytest.raises(ModelError, match=r"expected \.safetensors files"):
        fetch(row, Source(source), tmp_path / "others")
    assert list((tmp_path / "others").iterdir()) == []
    with pytest.raises(UsageError, match="expected a directory of weights"):
        fetch(row, Source(tmp_path / "none"), tmp_path / "others")


def test_a_pin_fixes_what_may_come(own: StateFolder, tiny_models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its revision is unpinned"):
        fetch(known_model(load_registry(own.registry), "mine"), Source(), tmp_path)
    with pytest.raises(UsageError, match="main: expected a commit of 40 hex digits"):
        pin(own, "mine", "main", None)
    row = pin(own, "mine", COMMIT, tiny_models / "tiny-wan-a")
    assert (row.revision, row.manifest) == (COMMIT, manifest_digest(tiny_models / "tiny-wan-a"))
    assert pin(own, "wan2.1-t2v-1.3b", COMMIT, None).manifest == "unpinned"
    assert known_model(load_registry(own.registry), "mine") == row
    fetch(row, Source(tiny_models / "tiny-wan-a"), tmp_path / "right")
    with pytest.raises(ModelError, match=r"mine: expected sha256:[0-9a-f]+ as pinned, found sha256:"):
        fetch(row, Source(tiny_models / "tiny-wan-b"), tmp_path / "wrong")
    assert pin(own, "mine", COMMIT[::-1], None).manifest == "unpinned"
    assert load_registry(own.registry).own == {"mine"}


def test_a_hub_that_cannot_be_reached_is_one_line(own: StateFolder, tmp_path: Path) -> None:
    pin(own, "mine", COMMIT, None)
    words = ("--dir", own.path, "models", "fetch", "mine", "--models", tmp_path / "m", "--accept-licence")
    failed = run(*words, "--mirror", "http://127.0.0.1:9")
    assert failed.returncode == 1, failed.stderr
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("error: us/mine: cannot be fetched: http://127.0.0.1:9 cannot be reached (")
    assert last.endswith("name a --mirror, or copy a folder with --from DIR")
    assert "Traceback" not in failed.stderr
    assert list((tmp_path / "m").iterdir()) == []


def test_adding_what_is_there_or_not_in_order_is_refused(own: StateFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already; remove it or give the new file another name"):
        add(own, tmp_path / "mine.toml")
    (tmp_path / "again.toml").write_text(OWN)
    with pytest.raises(UsageError, match=r"mine is in .* already"):
        add(own, tmp_path / "again.toml")
    (tmp_path / "wrong.toml").write_text(OWN.replace("frames = 9", "frames = 8"))
    with pytest.raises(UsageError, match="mine: frames: 8 frames cannot be made by WanPipeline"):
        add(own, tmp_path / "wrong.toml")
    (tmp_path / "pins.toml").write_text(OWN)
    with pytest.raises(UsageError, match=r"expected a file NAME\.toml, other than pins\.toml"):
        add(own, tmp_path / "pins.toml")


def test_only_the_packages_own_weights_need_no_licence(own: StateFolder, tmp_path: Path) -> None:
    ours = load_registry().rows["vdb-tiny-1"]
    model = Model(id="vdb-tiny-1", pipeline="WanPipeline", manifest=ours.manifest)
    spec = small_spec().model_copy(update={"models": (model,)})
    accept_licences(own, spec, None, accepted=False, show=lambda _: None)
    other = spec.model_copy(update={"models": (model.model_copy(update={"manifest": "sha256:" + "7" * 64}),)})
    with pytest.raises(UsageError, match="vdb-tiny-1: licence"):
        accept_licences(own, other, None, accepted=False, show=lambda _: None)
    facts = '[[models]]\nid = "theirs"\nbase = "vdb-tiny-1"\nlicence = { name = "Research only" }\n'
    based = tmp_path / "based.toml"
    based.write_text(f'version = "vdb-registry/1"\n{facts}')
    add(own, based)
    assert not load_registry(own.registry).rows["theirs"].packaged
    claimed = tmp_path / "models.toml"
    claimed.write_text(f'version = "vdb-registry/1"\n{facts.replace("theirs", "mine")}packaged = true\n')
    with pytest.raises(UsageError, match="mine: packaged: is said of this package's own weights alone"):
        add(own, claimed)


def test_what_was_pinned_from_a_folder_is_what_is_fetched_from_it(own: StateFolder, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("model_index.json", "x.safetensors", "README.md", "picture.png", ".gitattributes"):
        (source / name).write_text(json.dumps(name))
    row = pin(own, "mine", "a" * 40, source)
    _, digest = fetch(row, Source(source), tmp_path / "models")
    assert digest == row.manifest
    with pytest.raises(UsageError, match="there is nothing to pin"):
        pin(own, "vdb-tiny-1", "a" * 40, None)
