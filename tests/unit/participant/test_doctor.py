"""What `doctor` says of machines that are not here, of clocks, of room on the disk, and of the way to a coordinator."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.institutions import session_spec, write_prompts
from vdb_participant.commands.connecting import clock_note, judge_clock
from vdb_participant.commands.doctor import Subject, examine
from vdb_participant.commands.findings import Finding
from vdb_participant.commands.machine import GIB, Gpus, disk, driver_in, judge
from vdb_participant.site.config import StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure
from vdb_participant.site.policy import DEFAULT_POLICY
from vdb_shared.wire.clock import KEY, moment_in, told

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("gpus", "status", "words"),
    [
        (
            Gpus("12.8", "570.86.15", ("NVIDIA H100",)),
            "PASS",
            "NVIDIA H100 (driver 570.86.15, torch built for CUDA 12.8)",
        ),
        (
            Gpus("12.8", "570.86.15", ("K80",), "no kernel image"),
            "FAIL",
            "cannot compute on it (no kernel image); install a",
        ),
        (Gpus("", ""), "WARN", "no NVIDIA driver is loaded"),
        (Gpus("12.8", ""), "WARN", "no NVIDIA driver is loaded"),
        (Gpus("", "570.86.15"), "FAIL", "this torch is built for the CPU alone; install its CUDA build"),
        (
            Gpus("12.8", "470.57.02"),
            "FAIL",
            "driver 470.57.02 is too old for CUDA 12.8, for which torch is built; install driver 525",
        ),
        (Gpus("13.0", "570.86.15"), "FAIL", "install driver 580 or newer"),
        (Gpus("11.8", "450.80.02"), "FAIL", "no GPU can be used; look at `nvidia-smi`"),
        (Gpus("12.8", "570.86.15", visible=""), "FAIL", "CUDA_VISIBLE_DEVICES is ''; unset it"),
    ],
)
def test_gpus_drivers_and_cuda(gpus: Gpus, status: str, words: str) -> None:
    found = judge(gpus)
    assert (found.status.value, found.subject) == (status, "GPU")
    assert words in found.words


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12.2.0",
            "535.104.05",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build", "560.35.03"),
        ("", ""),
    ],
)
def test_the_drivers_version(text: str, version: str) -> None:
    assert driver_in(text) == version


def test_a_broken_torchvision_is_named(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    broken = 'raise RuntimeError("operator torchvision::nms does not exist\\nmore")\n'
    (tmp_path / "torchvision" / "__init__.py").write_text(broken)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vdb_participant.commands.machine import torchvision; found = torchvision()\n"
        "print(found.status.value, found.words)"
    )
    assert run(program=program).stdout == (
        "FAIL present but broken (operator torchvision::nms does not exist), which breaks diffusers; "
        "pip uninstall torchvision\n"
    )


def test_room_for_a_specs_clips(tmp_path: Path) -> None:
    found = disk(tmp_path, 2**60)
    assert found.status.value == "FAIL"
    assert f"this spec's clips take at most {2**60 / GIB:.1f} GiB" in found.words
    assert "free some, or choose another --dir" in found.words


@pytest.mark.parametrize(
    ("off", "status", "words"),
    [
        (timedelta(seconds=-3), "PASS", "ours is 3.0 seconds behind the coordinator's"),
        (timedelta(minutes=2), "WARN", "ours is 2.0 minutes ahead of the coordinator's"),
        (timedelta(days=-1), "FAIL", "ours is 24.0 hours behind the coordinator's"),
        (timedelta(days=400), "FAIL", "ours is 400.0 days ahead of the coordinator's"),
    ],
)
def test_two_clocks(off: timedelta, status: str, words: str) -> None:
    found = judge_clock((NOW, NOW + off))
    assert found.status.value == status
    assert words in found.words
    assert (status == "PASS") != ("synchronise this machine's" in found.words)
    note = clock_note((NOW, NOW + off))
    assert note == (
        "" if status == "PASS" else f"note: the deadlines above are by the coordinator's clock, and {found.words}"
    )


def test_a_coordinator_that_does_not_tell_its_time() -> None:
    assert judge_clock(None).status.value == "WARN"
    assert not clock_note(None)


def test_the_moment_in_an_answer() -> None:
    assert abs((moment_in(told(NOW)) or NOW) - NOW) < timedelta(milliseconds=1)
    for value in ("", "-1", "12.5", "9" * 15, "\u0663", b"12"):
        assert moment_in([("other", "1"), (KEY, value)]) is None


def findings(subject: Subject) -> dict[str, Finding]:
    return {item.subject: item for item in examine(subject)}


def test_a_changed_journal_fails(tmp_path: Path) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    for _ in range(3):
        journal.record(Departure("connection", "a:1", "x"))
    found = findings(Subject(StateFolder(tmp_path), bytes))["egress journal"]
    assert (found.status.value, found.words.split(";")[0]) == ("PASS", "3 entries, chain unbroken")
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + lines[2])
    found = findings(Subject(StateFolder(tmp_path), bytes))["egress journal"]
    assert found.status.value == "FAIL"
    assert "line 2: does not follow the line before it" in found.words


def test_what_a_spec_needs(tmp_path: Path) -> None:
    spec = session_spec(tmp_path / "models")
    (tmp_path / "spec.json").write_bytes(spec.canonical())
    (tmp_path / "policy.toml").write_text(DEFAULT_POLICY)
    data = write_prompts(tmp_path / "data", 0)
    subject = Subject(StateFolder(tmp_path), bytes, tmp_path / "models", data, tmp_path / "spec.json")
    found = findings(subject)
    names = [f"model {model.id}" for model in spec.models]
    for name in ("disk for the spec", "policy for the spec", *names, "extractors"):
        assert found[name].status.value == "PASS", found[name]
    assert re.search(r"this spec's clips take at most \d+\.\d GiB", found["disk for the spec"].words)
    (tmp_path / "models" / spec.models[0].id / "model.safetensors").write_bytes(b"other weights")
    changed = findings(subject)
    assert changed[names[0]].status.value == "FAIL"
    assert spec.models[0].manifest[:19] in changed[names[0]].words
    assert changed["extractors"].status.value == "PASS"


def test_a_spec_with_a_mistake_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text("version = 3\n")
    done = run("--dir", tmp_path / "s", "doctor", "--spec", tmp_path / "spec.toml", "--json")
    found = {item["subject"]: item for item in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["spec"]["status"] == "FAIL"
    assert str(tmp_path / "spec.toml") in found["spec"]["words"]
    assert found["torch"]["status"] == "PASS"
