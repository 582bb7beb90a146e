"""A backup or a restoration, killed before each of its file operations, one life after another on what the last one left.

    python -m testkit.backup_lives {backup,restore} SOURCE TARGET [--log LOG] [--database URL] [--last N] [--lives N]

Each life is a forked process that SIGKILL ends before its n-th operation on a file beside the target, from N on, until one
ends by itself.
Prints one line of JSON for each life: n, whether it was killed, and whether the target was there afterwards; a target that is
there is moved to TARGET-n. A life that ends by itself prints the number of its operations before that.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vdb_coordinator.backups.making import make_backup
from vdb_coordinator.backups.restoring import Wish, restore
from vdb_coordinator.config import Home

WATCHED = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "sqlite3.connect", "os.chmod"})


def main() -> None:
    """Live until a life ends by itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["backup", "restore"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--log", default="")
    parser.add_argument("--database")
    parser.add_argument("--last", type=int, default=1)
    parser.add_argument("--lives", type=int, default=1000)
    wish = parser.parse_args()
    for last in range(wish.last, wish.last + wish.lives):
        status = _life(wish, last)
        killed = status == -signal.SIGKILL
        if status and not killed:
            raise SystemExit(f"life {last} ended with {status}")
        there = wish.target.exists()
        if there:
            wish.target.rename(wish.target.with_name(f"{wish.target.name}-{last}"))
        sys.stdout.write(json.dumps({"last": last, "killed": killed, "there": there}) + "\n")
        if not killed:
            return


def _life(wish: argparse.Namespace, last: int) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = 0

    def watch(event: str, arguments: Any) -> None:
        nonlocal seen
        if event in WATCHED and str(wish.target.parent) in str(arguments[0]):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    _work(wish)
    os.write(1, json.dumps({"operations": seen}).encode() + b"\n")
    os._exit(0)


def _work(wish: argparse.Namespace) -> None:
    now = datetime.now(UTC)
    if wish.what == "backup":
        make_backup(Home(wish.source), wish.target, now, with_keys=True)
    else:
        restore(Wish(wish.source, wish.target, wish.database, (wish.log,)), lambda _: None, now)


if __name__ == "__main__":
    main()
