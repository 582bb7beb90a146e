"""Seconds of atheris, where `make fuzz` takes an hour: it finds a planted fault, and nothing in the verifier's parsers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.guided_fuzzing import fuzz

pytest.importorskip("atheris", reason="atheris has no wheel for this machine", exc_type=ImportError)

PLANTED = """
import sys
from pathlib import Path
import atheris
from testkit import parsers
from vdb_shared.errors import FormatError

@atheris.instrument_func
def parse(data):
    if data[:1] == b"v":
        if data[1:2] == b"d":
            if data[2:3] == b"b":
                raise KeyError("planted")
    raise FormatError("no")

parsers.PARSERS["base64"] = parsers.Parser(parse)
from testkit.guided_fuzzing import target
target("base64", Path(sys.argv[1]), sys.argv[2:])
"""
"""A fault behind three bytes: guessing finds it once in 16 million inputs."""


@pytest.mark.parametrize("name", ["archive", "envelope", "statement-seal", "proof"])
def test_what_atheris_breeds_gives_declared_errors(name: str) -> None:
    fed, edges, problem = fuzz(name, seconds=2, seed=1)
    assert problem == ""
    assert fed > 100
    assert edges > 10


def test_a_planted_fault_is_found_and_shown(tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"AAAA")
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, tmp_path, "-max_total_time=30", "-seed=1", f"-artifact_prefix={tmp_path}/"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    (said,) = [line for line in done.stderr.splitlines() if line.startswith('{"problem"')]
    assert done.returncode != 0
    assert "KeyError" in json.loads(said)["problem"]
    assert bytes.fromhex(json.loads(said)["input"]).startswith(b"vdb")
