"""`pip install .` without extras is all an auditor needs: no torch, no gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from testkit.bundles import sample_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a fresh environment with the distribution and no extras."""
    folder = tmp_path_factory.mktemp("auditor") / "venv"
    venv.create(folder, with_pip=True)
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        f"{ROOT}/constraints.txt",
        str(ROOT),
    ]
    done = subprocess.run([folder / "bin" / "python", *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_neither_torch_nor_grpc_is_installed(environment: Path) -> None:
    done = subprocess.run(
        [environment / "python", "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {line.split("==")[0].lower() for line in done.stdout.splitlines()}
    assert "video-diffusion-bench" in names
    assert not names & {"torch", "grpcio", "diffusers", "transformers", "sqlalchemy", "torchvision"}


def test_verifies_a_bundle(environment: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "result.vdbb"
    bundle.write_bytes(sample_bundle())
    done = subprocess.run([environment / "vdb-audit", "verify", bundle], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT PROVEN" in done.stdout


def test_compares_and_attests(environment: Path, tmp_path: Path) -> None:
    bundle, key, out = tmp_path / "result.vdbb", tmp_path / "auditor.pem", tmp_path / "result.svr.json"
    bundle.write_bytes(sample_bundle())
    commands: list[list[str | Path]] = [
        ["key", key, "--plaintext-key"],
        ["verify", bundle, "--attest", out, "--key", key],
        ["attestation", out, "--key", tmp_path / "auditor.pub.pem", "--bundle", bundle],
        ["compare", bundle, bundle],
        ["leaderboard", bundle, "--csv", tmp_path / "figures.csv"],
    ]
    for arguments in commands:
        done = subprocess.run([environment / "vdb-audit", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_prompt_suites_are_in_the_package_and_need_no_extra(environment: Path, tmp_path: Path) -> None:
    """A lead without the participant's extra writes suites into specs; an institution checks its prompts the same way."""
    program = environment / "vdb-participant"
    listed = subprocess.run([program, "prompts", "list", "--json"], capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    assert {item["name"]: item["prompts"] for item in json.loads(listed.stdout)}["general"] == 120
    (tmp_path / "prompts.jsonl").write_text('{"id": "a", "prompt": "A cat"}\n')
    for source in ("quick", tmp_path / "prompts.jsonl"):
        done = subprocess.run([program, "prompts", "lint", source], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("program", "extra"), [("vdb-participant", "participant"), ("vdb-coordinator", "coordinator")])
def test_other_programs_name_the_missing_extra(environment: Path, program: str, extra: str) -> None:
    arguments = {"vdb-participant": ["join", "x", "--data", "."], "vdb-coordinator": ["serve"]}[program]
    done = subprocess.run([environment / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"video-diffusion-bench[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert sys.executable not in done.stderr
