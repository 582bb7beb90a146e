"""The README says only what the programs do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(
    {
        tuple(re.sub(r"--dir \S+ ", "", line).split("#")[0].split())
        for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("vdb-")
    }
    | {("vdb-participant", "run", "spec.toml", "--data", "DIR", "--models", "DIR")}
)


def test_is_short_enough_to_read() -> None:
    assert len(README.splitlines()) <= 200


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_exist_with_their_flags(command: tuple[str, ...]) -> None:
    words = [word for word in command[1:] if re.fullmatch(r"[a-z]+", word)]
    path: list[str] = []
    text = help_of(command[0], path)
    for word in words:
        if not re.search(rf"^\W*{word}\s", text, re.MULTILINE):
            break
        path.append(word)
        text = help_of(command[0], path)
    assert path, f"{command[0]} has no command {words[0]}"
    for flag in (word for word in command if re.fullmatch(r"--?[a-z-]+", word)):
        assert flag in text, f"{' '.join(command)}: {flag} is not in its --help"


def help_of(program: str, path: list[str]) -> str:
    executable = Path(sys.executable).parent / program
    done = subprocess.run([executable, *path, "--help"], capture_output=True, text=True, check=True)
    return done.stdout
