"""The committed protocol code is what the schema generates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GENERATED = ("federation_pb2.py", "federation_pb2.pyi", "federation_pb2_grpc.py", "federation_pb2_grpc.pyi")


def test_generated_code_is_current(tmp_path: Path) -> None:
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    search_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-Ivdb_shared/wire={ROOT / 'protos' / 'vdb' / 'v1'}",
            *outputs,
            "vdb_shared/wire/federation.proto",
        ],
        check=True,
        env=os.environ | {"PATH": search_path},
    )
    for name in GENERATED:
        fresh = (tmp_path / "vdb_shared" / "wire" / name).read_text()
        assert fresh == (ROOT / "shared" / "vdb_shared" / "wire" / name).read_text(), f"{name} is stale: make protos"
