"""A decoder that a file can order to misbehave: what a flaw in a decoding library would let it do.

    python -m testkit.obedient_decoder SOCKET     in place of vdb_participant.data.decoding.process
    python -m testkit.obedient_decoder here FILE  reads a file in this very process, as a program without protection would

An order is the end of a file, `order:<name>` after a video or picture that is otherwise sound; see `ordered`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vdb_participant.data.decoding.media import DEFAULT_LIMITS, Source, read_frames
from vdb_participant.data.decoding.memory import Output
from vdb_participant.data.decoding.messages import Request, answer
from vdb_participant.data.decoding.process import main
from vdb_participant.data.decoding.reading import read
from vdb_shared.errors import DatasetError

PROGRAM = ("-m", "testkit.obedient_decoder")
_MARK = b"order:"

_held: list[Any] = []
"""What earlier files left in this process."""


def ordered(file: bytes, name: str) -> bytes:
    """Return a file that gives an order; demuxers skip what stands after a video's last box."""
    return file + (8 + 32).to_bytes(4, "big") + b"free" + (_MARK + name.encode()).rjust(32)


def obey(request: Request, source: Source, output: Output) -> bytes:
    """Do what the file orders, then read it."""
    order = _order(source)
    if _held and _held[0] == "poison":
        raise DatasetError("an earlier file poisoned this process")
    if _held and _held[0] == "taint":
        return answer("seen", frames=1, height=0, width=0, rate=(0, 1))
    if order in _ORDERS:
        said = _ORDERS[order](request, output)
        if said is not None:
            return said
    return read(request, source, output)


def _order(source: Source) -> str:
    source.seek(-32, os.SEEK_END)
    words = source.read(32).strip()
    source.seek(0)
    return words.removeprefix(_MARK).decode() if words.startswith(_MARK) else ""


def _crash(*_: object) -> bytes | None:
    ctypes.string_at(0)
    return None


def _exit(*_: object) -> bytes | None:
    os._exit(3)


def _raise(*_: object) -> bytes | None:
    raise RuntimeError("a fault of a library")


def _spin(*_: object) -> bytes | None:
    while True:
        pass


def _sleep(*_: object) -> bytes | None:
    time.sleep(1000)
    return None


def _eat(*_: object) -> bytes | None:
    """Take a gigabyte."""
    _held.extend(bytearray(2**26) for _number in range(16))
    return None


def _shout(*_: object) -> bytes | None:
    return answer("refused", reason="\x1b[31m" + "x" * 12000 + "\nsecond line")


def _lie(request: Request, _: object) -> bytes | None:
    return answer("seen", frames=max(1, request.frames), height=2**30, width=2**30, rate=(1, 1))


def _boast(request: Request, _: object) -> bytes | None:
    """Say that there are more frames than were asked for."""
    return answer("seen", frames=request.frames + 1, height=48, width=48, rate=(1, 1))


def _babble(*_: object) -> bytes | None:
    return b'{"answer": "seen", "frames": -1'


def _hold(_: object, output: Output) -> bytes | None:
    """Keep a window on the frames, to change them later."""
    descriptor = output._descriptor
    if descriptor >= 0:
        _held.append(mmap.mmap(descriptor, 4096))
    return None


def _resize(_: object, output: Output) -> bytes | None:
    """Take the frames' memory away from under the agent."""
    return _tried(lambda: os.ftruncate(output._descriptor, 0))


def _poison(*_: object) -> bytes | None:
    _held.insert(0, "poison")
    return None


def _taint(*_: object) -> bytes | None:
    """Be refused, and have this process tell lies about other files from now on."""
    _held.insert(0, "taint")
    raise DatasetError("is refused")


def _tried(action: Callable[[], object]) -> bytes:
    """Refuse the file with what came of an action."""
    try:
        action()
    except OSError as error:
        return answer("refused", reason=f"{type(error).__name__}")
    return answer("refused", reason="DONE")


def _environment(*_: object) -> bytes | None:
    return answer("refused", reason=" ".join(sorted(name for name in os.environ if "PASS" in name or "HOME" in name)))


def _tree(*_: object) -> bytes | None:
    """Tell who would be left behind: this process and the program that forked it."""
    return answer("refused", reason=f"{os.getpid()} {os.getppid()}")


_ORDERS: Mapping[str, Callable[[Request, Output], bytes | None]] = {
    "crash": _crash,
    "abort": lambda *_: os.abort(),
    "kill": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "exit": _exit,
    "raise": _raise,
    "spin": _spin,
    "sleep": _sleep,
    "slow": lambda *_: time.sleep(1),
    "eat": _eat,
    "shout": _shout,
    "lie": _lie,
    "boast": _boast,
    "babble": _babble,
    "hold": _hold,
    "resize": _resize,
    "poison": _poison,
    "taint": _taint,
    "environment": _environment,
    "tree": _tree,
    "read": lambda *_: _tried(Path("/etc/passwd").read_bytes),
    "write": lambda *_: _tried(lambda: Path("/tmp/vdb-decoder-wrote-this").write_bytes(b"x")),  # noqa: S108 (it must fail)
    "connect": lambda *_: _tried(lambda: socket.create_connection(("127.0.0.1", 9), timeout=5)),
    "network": lambda *_: _tried(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))),
    "signal": lambda *_: _tried(lambda: os.kill(os.getppid(), signal.SIGKILL)),
    "start": lambda *_: _tried(lambda: subprocess.run(["/bin/true"], check=True)),
}


def read_here(path: Path) -> int:
    """Read a video as an agent without a decoder would, and return how many frames it has."""
    with Source(os.open(path, os.O_RDONLY), path.suffix) as source:
        order = _order(source)
        if order in _ORDERS:
            _ORDERS[order](Request("video", path.suffix, 0, DEFAULT_LIMITS), Output())
        return read_frames(source, None, DEFAULT_LIMITS, lambda _number, _frame: None).frames


if __name__ == "__main__":
    if sys.argv[1] == "here":
        sys.stdout.write(f"{read_here(Path(sys.argv[2]))}\n")
    else:
        main(sys.argv[1:], obey)
