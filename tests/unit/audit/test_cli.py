from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.bundles import SmallSession, logged

PROGRAM = [sys.executable, "-m", "vdb_shared.audit.cli"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def bundle(session: SmallSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "result.vdbb"
    path.write_bytes(session.bundle())
    return path


@pytest.fixture(scope="module")
def tampered(session: SmallSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tampered") / "result.vdbb"
    path.write_bytes(session.forged({"metrics.json": b"{}"}))
    return path


def test_verify_passes(session: SmallSession, bundle: Path) -> None:
    done = run("verify", bundle, "--root", session.root)
    assert done.returncode == 0
    assert "V41              PASS" in done.stdout
    assert "NOT PROVEN" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("PASS: ")


def test_verify_takes_the_root_file(session: SmallSession, bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(session.record.roster.roots[0])
    done = run("verify", bundle, "--root", root, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["root_pinned"] is True


def test_verify_reads_the_log_beside_the_bundle(session: SmallSession, bundle: Path, tmp_path: Path) -> None:
    log = logged(session)
    for path, data in log.files().items():
        (tmp_path / "log" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "log" / path).write_bytes(data)
    kept = tmp_path / "seen"
    kept.write_bytes(log.proof(0, {}).checkpoint)
    done = run("verify", bundle, "--root", session.root, "--log", tmp_path / "log", "--checkpoint", kept)
    assert done.returncode == 0
    assert "V62              PASS" in done.stdout
    assert "V63              PASS" in done.stdout
    shutil.rmtree(tmp_path / "log" / "tile")
    done = run("verify", bundle, "--root", session.root, "--log", tmp_path / "log")
    assert done.returncode == 3
    assert "V62              SKIPPED" in done.stdout
    done = run("verify", bundle, "--log", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere: expected the folder of a log, or its URL" in done.stderr


def test_verify_fails_on_one_line_each(tampered: Path) -> None:
    done = run("verify", tampered)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("V41")]
    assert "FAIL" in line
    assert "near byte" in line
    assert "The first check that failed is V41" in done.stdout


def test_json_has_its_schema(session: SmallSession, bundle: Path, tampered: Path) -> None:
    report = json.loads(run("verify", bundle, "--root", session.root, "--json").stdout)
    assert report["version"] == "vdb-audit-report/1"
    assert report["verdict"] == "PASS"
    assert report["first_failure"] is None
    assert report["size"] == bundle.stat().st_size
    assert {frozenset(check) for check in report["checks"]} == {
        frozenset({"id", "title", "status", "sentence", "detail"})
    }
    assert set(report["facts"]) == {
        "consortium",
        "delta",
        "dropped",
        "epsilon",
        "joined",
        "private",
        "published",
        "root",
        "seal",
        "session",
        "survivors",
        "title",
    }
    assert json.loads(run("verify", tampered, "--json").stdout)["first_failure"] == "V41"


def test_html_is_written(bundle: Path, tmp_path: Path) -> None:
    assert run("verify", bundle, "--html", tmp_path / "report.html").returncode == 0
    assert run("leaderboard", bundle, "--html", tmp_path / "board.html").returncode == 0
    assert "tiny-wan-a" in (tmp_path / "board.html").read_text(encoding="utf-8")
    assert "V41" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_policy_is_read(bundle: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("maximum_epsilon = 1\n")
    assert run("verify", bundle, "--policy", policy).returncode == 1
    policy.write_text("epsilon = 1\n")
    done = run("verify", bundle, "--policy", policy)
    assert done.returncode == 2
    assert "policy.toml: epsilon" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "no-such-file"],
        ["verify", "/"],
        ["verify", __file__, "--root", "sha256:1"],
        ["verify", __file__, "--root", "no-such-file"],
        ["verify", __file__, "--policy", "no-such-file"],
        ["verify", __file__, "--html", "/no/such/folder/x.html"],
        ["verify", "--no-such-option"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_inspect_tells_what_a_bundle_says(bundle: Path, tampered: Path) -> None:
    found = json.loads(run("inspect", tampered, "--json").stdout)
    assert found["survivors"] == ["archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima"]
    assert found["dropped"] == [{"institution": "film-studio", "stage": "shared-keys"}]
    assert found["members"]["vdb-bundle"] == 13
    done = run("inspect", bundle)
    assert done.returncode == 0
    assert "Nothing was verified" in done.stdout


def test_what_is_no_bundle_is_said_in_one_line() -> None:
    done = run("inspect", __file__)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {__file__}: not a result bundle")
    assert len(done.stderr.splitlines()) == 1


def test_leaderboard_ranks_models_and_refuses_a_failed_bundle(bundle: Path, tampered: Path) -> None:
    done = run("leaderboard", bundle)
    assert done.returncode == 0
    assert "95 % interval" in done.stdout
    assert "tiny-wan-c" in done.stdout
    assert json.loads(run("leaderboard", bundle, "--json").stdout)["confidence"] == "0.95"
    refused = run("leaderboard", tampered)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: V41")


@pytest.mark.parametrize("command", ["verify", "inspect", "leaderboard", "compare", "key", "attestation"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: vdb-audit {command}" in run(command, "--help").stdout


def test_importing_the_audit_loads_neither_torch_nor_grpc() -> None:
    heavy = ("torch", "grpc", "google.protobuf", "sqlalchemy", "diffusers", "transformers", "opacus", "opendp")
    code = f"import sys, vdb_shared.audit.cli; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
