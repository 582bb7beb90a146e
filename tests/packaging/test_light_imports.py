"""What an auditor and a lead install stays light: importing it loads no machine learning framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "opendp", "av", "cv2")
NETWORK = ("grpc", "sqlalchemy", "google.protobuf")


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("vdb_shared", HEAVY + NETWORK),
        ("vdb_shared.audit.cli", HEAVY + NETWORK),
        ("vdb_coordinator.cli", HEAVY),
        ("vdb_participant.cli", ("torch", "diffusers", "transformers", "cv2")),
    ],
)
def test_importing_loads_nothing_heavy(module: str, forbidden: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
