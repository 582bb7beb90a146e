"""A lone researcher's page: `vdb-participant run --html` with real models, real videos, and prompts that must not show."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.pages import outline, pictures
from testkit.tiny import tiny_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.embedded.scenes import write_site
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.store import ClipStore
from vdb_participant.report.strips import chosen_frames
from vdb_participant.synthetic.models import build_all
from vdb_shared.spec import Spec
from vdb_shared.tasks import public_tasks, select_private_prompts, tasks_for

SECRET = "a patient called Secret"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Spec, str]:
    """Return the folder of a run, its spec, and what it printed."""
    path = tmp_path_factory.mktemp("local")
    build_all(path / "models")
    write_site(path / "data", site=0, clips=12)
    lines = (path / "data" / "prompts.jsonl").read_text().splitlines()
    items = [json.loads(line) for line in lines]
    for number, item in enumerate(items):
        item["prompt"] = f"{SECRET} {number}"
    (path / "data" / "prompts.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")
    spec = tiny_spec(path / "models", metrics=("temporal-flickering@1",))
    generation = spec.generation.model_copy(update={"private_share": 1})
    spec = spec.model_copy(update={"generation": generation})
    (path / "spec.json").write_bytes(spec.canonical())
    words = ("run", path / "spec.json", "--data", path / "data", "--models", path / "models")
    (path / "page.html").write_text("an older page")
    (path / "page.html").chmod(0o644)
    done = run("--dir", path / "state", *words, "--html", path / "page.html", "-o", path / "figures.json")
    assert done.returncode == 0, done.stdout + done.stderr
    return path, spec, done.stdout


def test_exact_figures_are_their_owners_alone_also_where_a_file_was_before(told: tuple[Path, Spec, str]) -> None:
    path, _, _ = told
    assert [stat.S_IMODE((path / name).stat().st_mode) for name in ("page.html", "figures.json")] == [0o600] * 2


def test_the_class_of_the_clips_stands_beside_the_figures(told: tuple[Path, Spec, str]) -> None:
    path, _, printed = told
    assert printed.startswith("clips of class exact, under the profile exact\n")
    figures = json.loads((path / "figures.json").read_text())
    assert (figures["class"], figures["profile"]) == ("exact", "exact")
    assert "clips of class exact" in outline((path / "page.html").read_text()).text


def test_public_clips_are_shown_and_private_ones_are_not(told: tuple[Path, Spec, str]) -> None:
    path, spec, _ = told
    page = (path / "page.html").read_text()
    engine, store = Engine(spec, ClipStore(path / "state" / "clips")), ClipStore(path / "state" / "clips")
    shown = [picture[:, :32] for picture in pictures(page)]

    def first_frames(prompts: list[str]) -> list[bytes]:
        words = [(prompt, "") for prompt in prompts]
        tasks = [task for model in spec.models for task in tasks_for(spec, model, words)]
        clips = [store.get(engine.key(task)) for task in tasks]
        return [clip.frames[chosen_frames(9)[0]].tobytes() for clip in clips if clip is not None]

    public = first_frames([prompt.text for prompt in spec.prompts])
    private = first_frames([p.text for p in select_private_prompts(spec, Dataset.open(path / "data").prompts)])
    assert len(public) == len(public_tasks(spec)) == len(shown) == 4
    assert sorted(frame.tobytes() for frame in shown) == sorted(public)
    assert len(private) == 2 * 12
    assert not {frame.tobytes() for frame in shown} & set(private)
    assert SECRET not in page


@pytest.mark.parametrize("option", ["--html", "-o"])
def test_a_folder_that_is_not_there_is_said_before_any_work(told: tuple[Path, Spec, str], option: str) -> None:
    path, _, _ = told
    words = ("run", path / "spec.json", "--data", path / "data", "--models", path / "models")
    done = run("--dir", path / "state", *words, option, path / "no" / "file")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: {path}/no/file: there is no such folder to write it to; make it, or choose another"
    ]


@pytest.mark.parametrize("option", ["--html", "-o"])
@pytest.mark.parametrize("name", ["spec.json", "data/prompts.jsonl"])
def test_what_is_measured_is_never_written_over(told: tuple[Path, Spec, str], option: str, name: str) -> None:
    path, _, _ = told
    before = (path / name).read_bytes()
    words = ("run", path / "spec.json", "--data", path / "data", "--models", path / "models")
    done = run("--dir", path / "state", *words, option, path / name)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {path / name}: is what this command reads, and would be written over; name another file"
    ]
    assert (path / name).read_bytes() == before


def test_a_page_that_cannot_be_written_is_said_after_the_figures(told: tuple[Path, Spec, str]) -> None:
    path, _, printed = told
    words = ("run", path / "spec.json", "--data", path / "data", "--models", path / "models")
    done = run("--dir", path / "state", *words, "--html", path)
    assert done.returncode == 2
    assert done.stdout == printed
    assert done.stderr.splitlines()[-1] == f"error: {path}: cannot be written (Is a directory)"
