"""What an auditor and a lead install stays light: importing it loads no machine learning framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testkit.bundles import sample_bundle

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


DONE = """
import sys
from vdb_shared.audit.cli import main

for line in {commands!r}:
    sys.argv = ["vdb-audit", *line]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (line, ended.code)
print([name for name in {forbidden!r} if name in sys.modules], file=sys.stderr)
"""


def test_an_auditor_who_does_everything_loads_nothing_heavy(tmp_path: Path) -> None:
    """Verify, attest, check the attestation, compare, and show and write tables, all in one process."""
    bundle, key, attestation = (str(tmp_path / name) for name in ("a.vdbb", "auditor.pem", "a.svr.json"))
    Path(bundle).write_bytes(sample_bundle())
    page = str(tmp_path / "page.html")
    commands = (
        ["key", key, "--plaintext-key"],
        ["verify", bundle, "--html", page, "--attest", attestation, "--key", key],
        ["attestation", attestation, "--key", key.replace(".pem", ".pub.pem"), "--bundle", bundle],
        ["compare", bundle, bundle, "--html", page],
        ["leaderboard", bundle, "--html", page, "--csv", page, "--latex", page],
        ["inspect", bundle],
    )
    program = DONE.format(commands=commands, forbidden=HEAVY + NETWORK)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"


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
