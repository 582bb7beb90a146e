"""`vdb-participant prompts`: suites into specs, and mistakes and counts of a site's own prompts."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.agent_cli import run
from testkit.specs import TOML
from vdb_coordinator.commands.presets import read_preset
from vdb_participant.commands.prompt_files import LOCAL, examine, suite_facts, suite_prompts, written
from vdb_participant.data.dataset import Dataset
from vdb_shared.errors import DatasetError, UsageError
from vdb_shared.prompts.drafts import Draft
from vdb_shared.prompts.lint import lint
from vdb_shared.prompts.suites import load_suite, suite_names
from vdb_shared.spec import parse_spec_toml

SUITE = """\
version = "vdb-prompts/1"
title = "Ours"
purpose = "A look."

[[prompts]]
id = "a"
text = "Two cats behind a chair"
tags = { category = "animals", difficulty = "easy", motion = "slow", counting = 2, space = "behind" }

[[prompts]]
id = "b"
text = "A cat on a mat"
tags = { category = "animals", difficulty = "easy", motion = "still" }
"""


def lines(folder: Path, *items: object) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items))
    return path


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_goes_into_a_spec_as_it_is_printed(name: str) -> None:
    drafts = suite_prompts(name)
    spec = parse_spec_toml(TOML + "\n" + written(drafts, "toml"))
    assert [(prompt.id, prompt.text) for prompt in spec.prompts[2:]] == [(draft.id, draft.text) for draft in drafts]


def test_all_suites_fit_behind_a_preset(tmp_path: Path) -> None:
    """Appended to a copied preset, as the documentation says: tags stay behind, the spec's format is what it was."""
    shown = [run("prompts", "show", name, "--format", "toml") for name in suite_names() if name != "quick"]
    text = "\n".join([read_preset("demo"), *(done.stdout for done in shown)])
    spec = parse_spec_toml(text)
    assert len(spec.prompts) == 24 + 390
    assert b"difficulty" not in spec.canonical()


def test_lines_for_a_data_folder_are_lines_that_the_agent_reads(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(written(suite_prompts("quick"), "jsonl"))
    dataset = Dataset.open(tmp_path)
    assert [prompt.text for prompt in dataset.prompts] == [draft.text for draft in load_suite("quick").prompts]
    assert dataset.problems == ()


@given(st.text(min_size=1, max_size=60))
def test_any_text_without_errors_survives_toml_and_json(text: str) -> None:
    draft = Draft("a", text, {})
    if not [finding for finding in lint([Draft("a", text)]) if finding.level == "error"]:
        assert tomllib.loads(written([draft], "toml"))["prompts"] == [{"id": "a", "text": text}]
        assert json.loads(written([draft], "jsonl")) == {"id": "a", "prompt": text}
        assert json.loads(written([draft], "json")) == [{"id": "a", "text": text, "tags": {}}]


def test_conditions_on_tags_choose_prompts() -> None:
    chosen = suite_prompts("general", ["category=city", "motion=slow"])
    assert len(chosen) == 3
    assert all(
        draft.tags and (draft.tags["category"], draft.tags["motion"]) == (("city",), ("slow",)) for draft in chosen
    )
    counted = suite_prompts("counting-and-space", ["counting=2", "space=between"])
    assert [draft.id for draft in counted] == ["two-towers-between"]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("colour=red", "--tag colour=red: expected NAME=VALUE with one of the tags category"),
        ("category", "--tag category: category is one of people"),
        ("category=cars", "--tag category=cars: category is one of people"),
        ("lettering=word", "general: no prompt has all of lettering=word"),
    ],
)
def test_conditions_that_nothing_meets_are_refused(condition: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        suite_prompts("general", [condition])
    assert str(refused.value).startswith(words)


def test_list_and_show_on_the_command_line() -> None:
    listed = run("prompts", "list")
    assert listed.returncode == 0
    assert [line.split()[:2] for line in listed.stdout.splitlines()] == [
        [str(item["name"]), str(item["prompts"])] for item in suite_facts()
    ]
    assert json.loads(run("prompts", "list", "--json").stdout) == suite_facts()
    shown = run("prompts", "show", "quick").stdout
    assert shown.startswith("umbrella-swap: Two strangers meet")
    assert "    category people, difficulty hard, motion moderate, counting 2\n" in shown
    whole = json.loads(run("prompts", "show", "quick", "--format", "json").stdout)
    assert whole[0]["tags"]["counting"] == ["2"]
    refused = run("prompts", "show", "quick", "--format", "yaml")
    assert refused.returncode == 2
    assert refused.stderr == "error: --format yaml: expected one of text, toml, jsonl, json\n"


def test_an_own_suite_is_shown_only_when_it_is_in_order(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(SUITE)
    assert [draft.id for draft in suite_prompts(str(path), ["counting=2"])] == ["a"]
    path.write_text(SUITE.replace('category = "animals", ', "", 1))
    with pytest.raises(UsageError) as refused:
        suite_prompts(str(path))
    assert str(refused.value).startswith(f"{path}:5: error: category is missing")


def test_a_suite_without_prompts_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(SUITE[: SUITE.index("[[prompts]]")])
    with pytest.raises(UsageError, match=r"ours\.toml: holds no prompt$"):
        suite_prompts(str(path))


def test_prompts_of_a_site_are_never_printed_for_a_spec(tmp_path: Path) -> None:
    done = run("prompts", "show", lines(tmp_path, {"id": "a", "prompt": "A private cat"}), "--format", "toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds prompts of a site, which are for no spec" in done.stderr


def test_lint_exits_with_0_for_warnings_1_for_errors_and_2_for_files_it_cannot_use(tmp_path: Path) -> None:
    warned = run("prompts", "lint", lines(tmp_path, {"id": "a", "prompt": "A  cat"}))
    assert warned.returncode == 0
    assert warned.stdout.splitlines()[1:] == [f"{tmp_path}/prompts.jsonl: 1 prompt, 0 errors, 1 warning", LOCAL]
    failed = run("prompts", "lint", lines(tmp_path, {"id": "a", "prompt": " "}, {"id": "b", "prompt": "A cat"}))
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[0] == (
        f"{tmp_path}/prompts.jsonl:1: error: text is empty; write a prompt or remove the entry"
    )
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "here.mp4").touch()
    clips = [{"id": name, "prompt": f"A cat {name}", "clip": f"clips/{name}.mp4"} for name in ("here", "gone")]
    named = run("prompts", "lint", lines(tmp_path, *clips, {"id": "c", "promt": "A cat"}))
    assert named.returncode == 1
    assert [line.split(": ", 2)[2] for line in named.stdout.splitlines()[:2]] == [
        f"clip 'clips/gone.mp4' is not there; put the file into {tmp_path}/clips, or take the clip out of the line",
        'promt: is no field that is known here; did you mean prompt?; expected {"id": …, "prompt": …, "clip": …}',
    ]
    unusable = run("prompts", "lint", tmp_path / "none.jsonl")
    assert (unusable.returncode, unusable.stdout) == (2, "")
    assert (
        unusable.stderr == f"error: {tmp_path}/none.jsonl: cannot be read (No such file or directory); check the path\n"
    )


def test_lint_of_a_suite_names_the_lines_of_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(SUITE.replace("A cat on a mat", "Two cats behind a chair").replace("counting = 2", "counting = 3"))
    done = run("prompts", "lint", path, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["prompts"], found["errors"], found["warnings"]) == (2, 2, 2)
    assert [(item["line"], item["kind"]) for item in found["findings"]] == [
        *((5, "contradiction"), (5, "unstated"), (10, "untagged"), (10, "repetition"))
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("not json", "form"),
        ('{"id": "x"}', "form"),
        ('{"id": "x", "prompt": ""}', "form"),
        ('{"id": "X", "prompt": "A dog"}', "form"),
        ('{"id": "x", "prompt": "A dog", "tags": {}}', "form"),
        ('{"id": "x", "id": "y", "prompt": "A dog"}', "form"),
        ('{"id": "x", "prompt": "' + "a" * 2001 + '"}', "form"),
        ('{"id": "x", "prompt": "' + "a" * 70000 + '"}', "form"),
        ('{"id": "a", "prompt": "A dog"}', "repetition"),
        ('{"id": "x", "prompt": "A cat"}', "repetition"),
        ('{"id": "x", "prompt": "A\\u0000dog"}', "character"),
    ],
)
def test_every_broken_line_is_a_finding_and_the_others_are_read(line: str, kind: str, tmp_path: Path) -> None:
    path = lines(tmp_path, {"id": "a", "prompt": "A cat"}, "", line, {"id": "z", "prompt": "A last bird"})
    examined = examine(str(path))
    assert [(item.line, item.kind) for item in examined.errors] == [(3, kind)]
    assert {"a", "z"} <= {draft.id for draft in examined.drafts}


@pytest.mark.parametrize(
    "items",
    [
        [{"id": "a", "prompt": "A cat"}, {"id": "b", "prompt": "A dog", "clip": None}],
        [{"id": "a", "prompt": "A cat"}, {"id": "a", "prompt": "A dog"}],
        [{"id": "a", "prompt": "A cat", "tags": {}}],
        ["[]"],
    ],
)
def test_lint_refuses_what_the_agent_refuses(items: list[object], tmp_path: Path) -> None:
    path = lines(tmp_path, *items)
    try:
        Dataset.open(tmp_path)
        accepted = True
    except DatasetError:
        accepted = False
    assert accepted == (not examine(str(path)).errors)


def test_what_is_said_of_private_prompts_repeats_none_of_them(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        {"id": "a", "prompt": "Zyxwvu  cat"},
        {"id": "b", "prompt": "zyxwvu CAT"},
        {"id": "b", "prompt": "zyxwvu " * 70},
        '{"id": "c", "prompt": "Zyxwvu',
        {"id": "D", "prompt": "Zyxwvu"},
    )
    for command in ("lint", "stats"):
        for option in ((), ("--json",)):
            done = run("prompts", command, path, *option)
            assert "zyxwvu" not in (done.stdout + done.stderr).casefold()
            assert done.stdout
            assert option or done.stdout.endswith(LOCAL + "\n")


def test_stats_do_not_keep_quiet_about_what_lint_refuses(tmp_path: Path) -> None:
    path = lines(tmp_path, {"id": "a", "prompt": "A cat"}, {"id": "a", "prompt": "A dog"}, '{"id": "c"')
    shown = run("prompts", "stats", path)
    assert shown.stdout.splitlines()[:2] == [
        f"{path}: 2 prompts, 2 distinct, 3 different words",
        f"2 errors, which `vdb-participant prompts lint {path}` names; lines that cannot be read are not counted here",
    ]
    assert json.loads(run("prompts", "stats", path, "--json").stdout)["errors"] == 2
    assert json.loads(run("prompts", "lint", path, "--json").stdout)["errors"] == 2


def test_stats_in_text_and_json() -> None:
    shown = run("prompts", "stats", "general").stdout
    assert shown.startswith("general: 120 prompts, 120 distinct")
    assert "12 of 12" in shown
    assert LOCAL not in shown
    assert "error" not in shown
    found = json.loads(run("prompts", "stats", "general", "--json").stdout)
    assert found["prompts"] == sum(found["tags"]["motion"]["values"].values()) == 120
    assert (found["tags"]["category"]["used"], found["tags"]["category"]["known"]) == (12, 12)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.toml", None, "cannot be read (No such file or directory); check the path"),
        ("folder.jsonl", "", "cannot be read (Is a directory); check the path"),
        ("bad.toml", b"\xff", "is not UTF-8 text"),
        ("bad.toml", b"version =", "not TOML"),
        ("prompts.txt", b"A cat", "expected a suite (camera, "),
    ],
)
def test_files_that_cannot_be_used_are_told_in_one_line(
    name: str, content: bytes | str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    for command in ("lint", "stats", "show"):
        done = run("prompts", command, path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {path}: {words}")
        assert len(done.stderr.splitlines()) == 1
