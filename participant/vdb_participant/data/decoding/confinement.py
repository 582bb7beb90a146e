"""What keeps a decoder in: limits of the kernel on what it may take, and rights that it gives up for good.

Promises that nothing given up can be taken back by the process or what it starts, but for the time of `bound_time`, which
another process must watch. Limits and privileges hold on every machine
or raise; whether network and files can be left depends on the kernel and its settings, and is returned. Loads no torch.
Linux only, and no library: system calls by number, which are the same on all architectures since 5.1.

Source: prctl(2), setrlimit(2), unshare(2), landlock(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
from pathlib import Path
from typing import Final

FILES: Final = 32
"""Descriptors that a decoder may hold; it needs a handful."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWNET: Final = 0x40000000

_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_ASK_VERSION: Final = 1
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights over files there are by version; none was added since the fifth."""
_TCP: Final = 0b11
"""Binding and connecting, since version 4."""
_SCOPES: Final = 0b11
"""Abstract sockets and signals to processes outside, since version 6."""


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`."""

    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


def leave_network() -> bool:
    """Move this process, which must have one thread, where there is no network; return whether the kernel let it."""
    return int(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC)) == 0


def can_leave_files() -> bool:
    """Return whether the kernel lets processes give up all files (Landlock, since Linux 5.13)."""
    return _landlock_version() > 0


def leave_files() -> bool:
    """Give up opening, making and removing files, signals to and tracing of others; return whether the kernel knows how.

    What is open stays open.
    """
    version = _landlock_version()
    if version <= 0:
        return False
    rights = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    rules = _Ruleset(rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    libc = _libc()
    made: int = libc.syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if made < 0:
        return False
    try:
        return int(libc.syscall(_LANDLOCK_RESTRICT_SELF, made, 0)) == 0
    finally:
        os.close(made)


def give_up_privileges() -> None:
    """Give up gaining rights by starting programs, being looked into, leaving a core, and writing files.

    Raises:
        OSError: the kernel refuses, which no kernel in use does.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, FILES)


def be_first_to_die() -> None:
    """Ask the kernel to end this process rather than others when memory runs out, where /proc can be written."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def end_with_parent(parent: int) -> None:
    """Ask to be killed when the parent ends.

    Args:
        parent: process id of the parent, which must have one thread; ends now if it is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def bound_memory(more: int) -> None:
    """Limit address space, for good, to so many bytes more than there are now; and processes and threads to those there are.

    The latter is of no effect on root.
    """
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more)
    _limit(resource.RLIMIT_NPROC, 0)


def bound_time(seconds: float) -> None:
    """Have this process killed (SIGXCPU) when it has used so many seconds more of processor time, rounded up to whole ones."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    wanted = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))


def _landlock_version() -> int:
    return int(_libc().syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_ASK_VERSION))


def _prctl(option: int, value: int) -> None:
    if _libc().prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option} was refused")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
