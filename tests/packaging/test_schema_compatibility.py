"""The schema breaks no program that speaks a released version: what `make check` asks buf, and that buf would say no."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vdb_shared.wire.versions import CURRENT, OLDEST, Version

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
RELEASED = sorted(PROTOS.glob("released/*"), key=lambda path: Version.parse(path.name))
SCHEMA = "vdb/v1/federation.proto"


def breaking(protos: Path, base: Path) -> str:
    """Return what buf finds, or "" if nothing is broken."""
    done = subprocess.run(
        [Path(sys.executable).parent / "buf", "breaking", "--against", base.relative_to(protos)],
        check=False,
        cwd=protos,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or done.stdout, done.stderr
    return done.stdout


def test_every_version_that_is_still_spoken_is_kept() -> None:
    versions = [Version.parse(path.name) for path in RELEASED]
    assert versions[0] <= OLDEST
    assert versions[-1] <= CURRENT
    if versions[-1] == CURRENT:
        current = (PROTOS / SCHEMA).read_bytes()
        assert (RELEASED[-1] / SCHEMA).read_bytes() == current, "the schema has changed: raise CURRENT in versions.py"


@pytest.mark.parametrize("base", RELEASED, ids=lambda path: str(path.name))
def test_the_schema_breaks_no_released_version(base: Path) -> None:
    assert breaking(PROTOS, base) == ""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  bytes ciphertext = 3;\n", "", 'field "3" with name "ciphertext" on message "SealedShares" was deleted'),
        ("  bytes ciphertext = 3;", "  bytes ciphertext = 4;", 'field "3"'),
        ("  bytes ciphertext = 3;", "  string ciphertext = 3;", "changed type"),
        ("  bytes ciphertext = 3;", "  bytes sealed_text = 3;", "changed name"),
        ("  repeated bytes roots = 1;", "  bytes roots = 1;", "changed cardinality"),
        ("  rpc GetSeal(GetSealRequest) returns (GetSealResponse);\n", "", 'RPC "GetSeal" on service'),
        (
            "rpc GetSeal(GetSealRequest) returns (GetSealResponse)",
            "rpc GetSeal(GetSealRequest) returns (stream GetSealResponse)",
            "streaming",
        ),
        ("  PHASE_ABORTED = 9;\n", "", "Previously present enum value"),
        ("service LogService {", "service WitnessService {", 'service "LogService"'),
    ],
)
def test_what_would_break_a_program_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    protos = tmp_path / "protos"
    shutil.copytree(PROTOS, protos)
    schema = protos / SCHEMA
    text = schema.read_text()
    assert old in text
    schema.write_text(text.replace(old, new))
    assert words in breaking(protos, protos / "released" / "1.0")


def test_make_check_asks_for_every_released_version() -> None:
    assert (
        "for base in released/*; do ../$(BIN)/buf breaking --against $$base || exit 1; done"
        in (ROOT / "Makefile").read_text()
    )
