"""The decoder's program, started by exec in an environment of its own, and ended.

Promises that it knows no path, passphrase or token of the agent's, and that it and all it started end when they are to. Leaves
what it is asked to `decoder.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from vdb_participant.data.decoding.answers import ReadyFile, parse_answer
from vdb_participant.data.decoding.messages import MESSAGE_BYTES
from vdb_shared.errors import UsageError

PROGRAM: Final = ("-m", "vdb_participant.data.decoding.process")

STARTING_SECONDS: Final = 60.0
"""For a program that loads in half a second, on a machine that does other things."""

_ENDING_SECONDS: Final = 2.0
"""For a program that ends itself."""

_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""What some installations of Python need to start."""


@dataclass(frozen=True, slots=True)
class Program:
    """A running decoder."""

    process: subprocess.Popen[bytes]
    line: socket.socket
    ready: ReadyFile

    def end(self) -> None:
        """End it and what it started."""
        _close(self.process, self.line)


def start(words: tuple[str, ...]) -> Program:
    """Start a program and wait until it is ready.

    Raises:
        UsageError: it cannot be started, or is not ready in time.
    """
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with other:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, with our own Python
                [sys.executable, "-B", "-P", "-s", *words, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                pass_fds=(other.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            mine.close()
            raise UsageError(f"{sys.executable}: the decoder cannot be started: {error.strerror}") from error
    mine.settimeout(STARTING_SECONDS)
    try:
        said = parse_answer(mine.recv(MESSAGE_BYTES))
        if isinstance(said, ReadyFile):
            return Program(process, mine, said)
    except (OSError, ValueError):
        pass
    raise UsageError(
        f"the decoder of videos and pictures did not start (exit status {_close(process, mine)}); "
        f"`{sys.executable} -m vdb_participant.data.decoding.process 0` says why"
    )


def _close(process: subprocess.Popen[bytes], line: socket.socket) -> int:
    """Return the exit status of a program, which ends when its line closes, or is made to with all it started."""
    line.close()
    try:
        return process.wait(_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _environment() -> dict[str, str]:
    """Return what the program needs to find the libraries, and nothing else: no passphrase, no token."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    places = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    return kept | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
