"""The command line: one line for each mistake, no traceback, no heavy import where none is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.ratings import rated_spec, score, vote, written
from testkit.specs import TOML
from vdb_participant.cli import share_processors
from vdb_participant.commands.doctor import Subject, examine
from vdb_participant.site.config import StateFolder
from vdb_participant.site.policy import DEFAULT_POLICY


def error_of(*words: str | Path, expect: int, **environment: str) -> str:
    """Return the one line that a command says when it fails."""
    done = run(*words, **environment)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


MODELS = [f"models {command}" for command in ("list", "show", "verify", "fetch", "pin", "add", "retry")]


@pytest.mark.parametrize(
    "command",
    [
        "",
        "enroll",
        "join",
        "run",
        "doctor",
        "report",
        "status",
        "leave",
        "relay prepare",
        "relay carry",
        "budget",
        "budget verify",
        "budget export",
        "data check",
        "journal show",
        "journal verify",
        "journal export",
        "policy lint",
        *MODELS,
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert not command or f"Example: vdb-participant {command}" in done.stdout


def test_light_commands_load_no_framework(tmp_path: Path) -> None:
    heavy = ("torch", "diffusers", "transformers", "av")
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print([name for name in {heavy!r} if name in sys.modules]))\n"
        "from vdb_participant.cli import main; main()"
    )
    missing = tmp_path / "none.invitation"
    for words in (
        ["--help"],
        ["budget"],
        ["budget", "verify"],
        ["models", "list"],
        ["enroll", str(missing)],
        ["journal", "verify"],
    ):
        done = run("--dir", tmp_path / "state", *words, program=program)
        assert done.stdout.splitlines()[-1] == "[]", words


BLOCKER = """
import sys
class Blocker:
    def __init__(self, name):
        self.name = name
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
"""


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("join", "5f", "--data", "."), "grpc"),
        (("run", "SPEC", "--data", "."), "diffusers"),
        (("data", "check", "."), "av"),
        (("enroll", "x.invitation"), "grpc"),
        (("enroll", "x.invitation"), "google"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, words: tuple[str, ...], missing: str) -> None:
    (tmp_path / "spec.toml").write_text(TOML)
    program = f"{BLOCKER}\nsys.meta_path.insert(0, Blocker({missing!r}))\nfrom vdb_participant.cli import main; main()"
    done = run(*(str(tmp_path / "spec.toml") if word == "SPEC" else word for word in words), program=program)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == (
        f"error: the packages of the participant are not all installed (the Python module {missing} is missing); install them "
        "with: pip install 'video-diffusion-bench[participant]' (in a checkout: pip install '.[participant]')\n"
    )


@pytest.mark.parametrize(
    ("chosen", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_threads_that_wait_leave_processors_to_others_unless_somebody_chose(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], spins: str | None
) -> None:
    monkeypatch.setattr(os, "environ", chosen)
    share_processors()
    assert chosen.get("GOMP_SPINCOUNT") == spins


def test_that_is_settled_before_torch_is_loaded() -> None:
    ends = "print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    done = run(
        "--help",
        program=f"import os, sys\nfrom vdb_participant.cli import main\ntry:\n    main()\nfinally:\n    {ends}",
    )
    assert done.stdout.splitlines()[-1] == "1000 False"


def test_not_enrolled(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    assert error_of("--dir", tmp_path / "s", "join", "5f", "--data", tmp_path, expect=1) == (
        f"{tmp_path}/s: no institution is enrolled here; run `vdb-participant enroll INVITE` or choose --dir"
    )


def test_a_file_that_is_no_invitation(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8\xff")
    line = error_of("--dir", tmp_path / "s", "enroll", tmp_path / "holiday.jpg", expect=1)
    assert line.startswith(
        f"{tmp_path}/holiday.jpg: expected an invitation file, found something else, or one that was edited or cut ("
    )
    assert line.endswith("; ask the lead to send it again")
    assert error_of("--dir", tmp_path / "s", "enroll", tmp_path / "none", expect=2) == (
        f"{tmp_path}/none: expected an invitation file, cannot read it (No such file or directory)"
    )


def test_a_spec_with_a_typo_names_file_line_and_field(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(TOML.replace("guidance = 2.0", "guidence = 2.0"))
    line = TOML.splitlines().index("guidance = 2.0") + 1
    assert error_of("run", spec, "--data", tmp_path, expect=2).startswith(f"{spec}:{line}: generation.guidence: ")


def test_a_spec_with_an_unknown_metric_names_the_field(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(TOML.replace("clip-score@1", "klip-score@1"))
    line = error_of("run", spec, "--data", tmp_path, expect=2)
    place = spec.read_text().splitlines().index('id = "klip-score@1"') + 1
    assert line.startswith(f"{spec}:{place}: metrics.1.id: ")


def test_a_spec_that_is_not_there(tmp_path: Path) -> None:
    assert error_of("run", tmp_path / "none.toml", "--data", tmp_path, expect=2) == (
        f"{tmp_path}/none.toml: cannot be read (No such file or directory); check the path"
    )


def test_models_that_are_not_there(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(TOML)
    words = ("run", spec, "--data", tmp_path, "--models", tmp_path / "models")
    assert error_of(*words, expect=2) == f"--models {tmp_path}/models: expected a folder of weights, found none"
    (tmp_path / "models").mkdir()
    assert error_of(*words, expect=1).startswith(f"{tmp_path}/models/tiny-wan-a: expected ")


def test_a_wrong_data_folder(tmp_path: Path) -> None:
    assert error_of("data", "check", tmp_path / "none", expect=2) == (
        f"{tmp_path}/none: expected a data folder, found none; name the one with clips/ and prompts.jsonl"
    )
    (tmp_path / "empty").mkdir()
    assert "expected clips/ with videos, prompts.jsonl or ratings.jsonl, found none of them" in error_of(
        "data", "check", tmp_path / "empty", expect=2
    )


def test_join_tells_a_wrong_argument_before_it_asks_for_anything(tmp_path: Path) -> None:
    """No terminal, no passphrase and not even an enrolled site: none of these takes the blame."""
    join = ("--dir", tmp_path / "state", "join", "4f2a", "--data")
    assert error_of(*join, tmp_path / "mistyped", expect=2).startswith(f"{tmp_path}/mistyped: expected a data folder")
    (tmp_path / "data" / "clips").mkdir(parents=True)
    gpu = error_of(*join, tmp_path / "data", "--device", "gpu", expect=2)
    assert gpu == "--device gpu: expected auto, cpu, cuda or cuda:N"
    assert "no institution is enrolled here" in error_of(*join, tmp_path / "data", expect=1)


def test_data_check_lists_what_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "broken.mp4").write_bytes(b"not a video")
    (tmp_path / "prompts.jsonl").write_text('{"id": "a", "prompt": "one"}\n')
    done = run("data", "check", tmp_path, "--json")
    found = json.loads(done.stdout)
    assert (found["clips"], found["prompts"]) == (0, 1)
    assert [item["file"] for item in found["problems"]] == ["clips/broken.mp4"]
    assert "not used: clips/broken.mp4: " in run("data", "check", tmp_path).stdout


def test_data_check_shows_ratings_and_which_are_of_no_clip_of_a_spec(tmp_path: Path) -> None:
    spec = rated_spec()
    (tmp_path / "spec.json").write_bytes(spec.canonical())
    folder = written(
        tmp_path / "data", [vote(spec, "r", "tie"), score(spec, "s", 3), vote(spec, "s", "tie", prompt="p9")]
    )
    found = json.loads(run("data", "check", folder, "--json").stdout)
    assert (found["raters"], found["votes"], found["scores"], found["problems"]) == (2, 2, 1, [])
    done = run("data", "check", folder, "--spec", tmp_path / "spec.json")
    assert done.returncode == 1
    assert "ratings by 2 people, each one more record: 1 vote and 1 score\n" in done.stdout
    assert f"ratings of clips of the spec name it as {spec.digest}\n" in done.stdout
    assert "not used: ratings.jsonl:3: names the prompt 'p9', which the spec has not\n" in done.stdout
    assert run("data", "check", folder).returncode == 0


def test_models_verify_of_a_folder_without_models_says_so(tmp_path: Path) -> None:
    (tmp_path / "conditions").mkdir()
    for option in ((), ("--json",)):
        assert error_of("models", "verify", tmp_path, *option, expect=2) == (
            f"no model in {tmp_path}: expected a folder of weights for each model, named by its id, found none"
        )


def test_models_verify_shows_the_digests_that_specs_name(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "x.safetensors").write_bytes(b"w")
    found = json.loads(run("models", "verify", tmp_path, "--json").stdout)
    assert found["m"]["manifest"].startswith("sha256:")
    assert list(found["m"]["files"]) == ["x.safetensors"]
    assert found["m"]["manifest"] in run("models", "verify", tmp_path).stdout
    (tmp_path / "m" / "x.pt").write_bytes(b"w")
    assert "x.pt" in error_of("models", "verify", tmp_path, expect=1)


def test_budget_of_a_new_folder(tmp_path: Path) -> None:
    assert "choose it with --dir" in error_of("--dir", tmp_path / "s", "budget", expect=2)
    (tmp_path / "s").mkdir()
    for words in ((), ("verify",), ("export",)):
        assert "no institution is enrolled here" in error_of("--dir", tmp_path / "s", "budget", *words, expect=2)
    (tmp_path / "s" / "policy.toml").write_text(DEFAULT_POLICY)
    done = run("--dir", tmp_path / "s", "budget")
    assert done.returncode == 0
    assert "epsilon 20 at delta" in done.stdout
    assert "nothing has been debited" in done.stdout
    assert json.loads(run("--dir", tmp_path / "s", "budget", "--json").stdout)["datasets"] == []
    assert "PASS" in run("--dir", tmp_path / "s", "budget", "verify").stdout
    assert json.loads(run("--dir", tmp_path / "s", "budget", "export").stdout)["entries"] == []
    assert run("--dir", tmp_path / "s", "budget", "export", "--format", "xml").returncode == 2
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["policy.toml"]


def test_a_damaged_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"x" * 4096)
    assert "the privacy ledger is damaged" in error_of("--dir", tmp_path, "budget", expect=1)


def test_a_misspelt_failpoint(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    line = error_of("--dir", tmp_path, "join", "5f", "--data", tmp_path, expect=2, VDB_FAILPOINTS="after-lunch=kill")
    assert "'after-lunch' is not a failpoint" in line


def test_usage_errors_exit_with_2() -> None:
    assert run("join").returncode == 2
    assert run("no-such-command").returncode == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("--debug", "data", "check", tmp_path / "none")
    assert "Traceback" in done.stderr


def test_doctor_tells_of_steps_that_unfinished_clips_left(tmp_path: Path) -> None:
    subject = Subject(StateFolder(tmp_path), bytes)
    found = {item.subject: item for item in examine(subject)}
    assert found["unfinished clips"].words == "none"
    (tmp_path / "clips" / "ab").mkdir(parents=True)
    (tmp_path / "clips" / "ab" / "abc.steps").write_bytes(bytes(200 * 2**20))
    found = {item.subject: item for item in examine(subject)}
    assert found["unfinished clips"].status.value == "PASS"
    assert found["unfinished clips"].words == (
        f"1, whose steps take 0.2 GiB; when no session needs them, delete {tmp_path}/clips/*/*.steps"
    )


def test_doctor_says_what_is_missing_and_fails(tmp_path: Path) -> None:
    done = run("--dir", tmp_path / "s", "doctor", "--json", "--data", tmp_path / "none", "--models", tmp_path / "none")
    found = {item["subject"]: item for item in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["enrolment"]["status"] == "FAIL"
    assert "vdb-participant enroll" in found["enrolment"]["words"]
    assert found["torch"]["status"] == "PASS"
    assert found["data"]["status"] == found["models"]["status"] == "FAIL"
    assert found["torchvision"]["status"] == "PASS"
    assert not (tmp_path / "s").exists()
