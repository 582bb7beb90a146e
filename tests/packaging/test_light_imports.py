"""What an auditor and a lead install stays light: importing it loads no machine learning framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "opacus", "opendp", "av", "cv2")
NETWORK = ("grpc", "sqlalchemy", "google.protobuf")


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("vdb_shared", HEAVY + NETWORK),
        ("vdb_shared.audit.cli", HEAVY + NETWORK),
        ("vdb_coordinator.cli", HEAVY),
        ("vdb_participant.cli", ("torch", "diffusers", "transformers", "opacus", "cv2")),
    ],
)
def test_importing_loads_nothing_heavy(module: str, forbidden: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([name for name in {forbidden!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WATCHED = """
import importlib.abc, sys

class Watch(importlib.abc.MetaPathFinder):
    asked = set()

    def find_spec(self, name, path=None, target=None):
        self.asked.add(name.split(".")[0])
        return None

sys.meta_path.insert(0, Watch())
import {module}
print("torch" in Watch.asked, "torchvision" in Watch.asked)
"""


def test_the_second_accountant_never_asks_for_torchvision() -> None:
    """Not even where it is installed: one that does not fit torch breaks whatever imports it."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(module="opacus")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]
