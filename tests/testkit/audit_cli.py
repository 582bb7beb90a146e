"""`vdb-audit` within the process of a test: the same program as on a terminal, without waiting for imports each time."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from vdb_shared.audit.cli import main


@dataclass(frozen=True)
class Done:
    """How a command ended, as subprocess.CompletedProcess tells it."""

    returncode: int
    stdout: str
    stderr: str


def vdb_audit(*arguments: str | Path) -> Done:
    """Run a command to its end; no traceback may reach the user."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["vdb-audit", *map(str, arguments)]
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    if not isinstance(code, int):
        raise AssertionError(f"{arguments}: ended with {code!r}")
    return Done(code, out.getvalue(), err.getvalue())
