"""The agent's command line in a process of its own, with nobody at the keyboard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = "import sys; from vdb_participant.cli import main; main()"


def run(*words: str | Path, program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"COLUMNS": "120", "TERM": "dumb"} | environment,
        check=False,
    )
