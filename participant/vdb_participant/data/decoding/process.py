"""The decoder: a small program that forks confined processes, which read media files.

    python -m vdb_participant.data.decoding.process SOCKET

Promises that a verdict on a file does not depend on the files before it: whatever goes wrong in a process that has read others
is tried again in a fresh one, and a process in which something went wrong reads no other file. So a clip, which is a record,
cannot take another along. The program itself opens no file of anybody and reads no byte of one; it passes files on, kills
a process that is late, tells how one ended, and ends with the agent. It has one thread and no torch, so forking is safe. Leaves
what is asked to `messages.py`, reading to `reading.py`, limits to `confinement.py`.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import av
from PIL import Image

from vdb_participant.data.decoding import confinement
from vdb_participant.data.decoding.messages import MESSAGE_BYTES, Request, answer
from vdb_participant.data.decoding.reading import Reader, answer_all, read

FILES_EACH: Final = 32
"""Files that a process reads before a fresh one takes over: forking costs as much as some frames."""

GRACE_SECONDS: Final = 1.0
"""Beyond a file's time, for a process that is about to say itself that it is late."""

_LOOK_SECONDS: Final = 1.0
"""Between two looks at whether the agent is still there."""

_DYING_SECONDS: Final = 10.0
"""A process that has closed its line is on its way out; freeing gigabytes takes a moment."""


class AgentGoneError(Exception):
    """Nobody waits for an answer."""


@dataclass(slots=True)
class _Process:
    """A confined process.

    Attributes:
        id: its process id.
        line: to it.
        memory: that it was confined to.
        files: how many it has read.
    """

    id: int
    line: socket.socket
    memory: int
    files: int = 0

    def end(self) -> int:
        """Kill it and return its wait status."""
        self.line.close()
        os.kill(self.id, signal.SIGKILL)
        return os.waitpid(self.id, 0)[1]


class Program:
    """Forks processes, one at a time, and passes files on to them."""

    def __init__(self, agent: socket.socket, reader: Reader) -> None:
        """Return a program.

        Args:
            agent: a socket that keeps messages apart.
            reader: what reads a file.
        """
        self._agent = agent
        self._reader = reader
        self._parent = os.getppid()
        self._process: _Process | None = None

    def serve(self) -> None:
        """Answer requests until the agent closes its end or ends."""
        gc.freeze()  # a forked process that collects nothing copies nothing
        try:
            while self._waits():
                message, descriptors, _, _ = socket.recv_fds(self._agent, MESSAGE_BYTES, 2)
                if not message:
                    return
                try:
                    reply = self._answer(message, descriptors)
                finally:
                    for descriptor in descriptors:
                        os.close(descriptor)
                self._agent.send(reply)
        except (AgentGoneError, BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._end()

    def _waits(self) -> bool:
        """Wait for a request; return False when the agent is gone, even if others hold its end of the socket."""
        while not select.select([self._agent], [], [], _LOOK_SECONDS)[0]:
            if os.getppid() != self._parent:
                return False
        return True

    def _answer(self, message: bytes, descriptors: Sequence[int]) -> bytes:
        """Return a process's answer, or how it ended; of a used one only what it could decode."""
        request = Request.from_bytes(message)
        while True:
            process = self._process_for(request)
            process.files += 1
            reply = self._heard(process, request, message, descriptors)
            decoded = reply.startswith(_DECODED)
            if not decoded or process.files == FILES_EACH:
                self._end()
            if decoded or process.files == 1:
                return reply
            os.lseek(descriptors[0], 0, os.SEEK_SET)

    def _process_for(self, request: Request) -> _Process:
        """Return the process that reads a file, forked if need be."""
        if self._process is not None and self._process.memory != request.limits.memory:
            self._end()
        if self._process is None:
            self._process = self._forked(request)
        return self._process

    def _forked(self, request: Request) -> _Process:
        program, mine = os.getpid(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        child = os.fork()
        if child:
            mine[1].close()
            return _Process(child, mine[0], request.limits.memory)
        status = 1
        try:
            mine[0].close()
            self._agent.close()
            confinement.end_with_parent(program)
            confinement.bound_memory(request.limits.memory)
            confinement.leave_files()
            answer_all(mine[1], self._reader, GRACE_SECONDS)
            status = 0
        finally:
            os._exit(status)  # whatever was raised: nothing here may go on with what the program does

    def _heard(self, process: _Process, request: Request, message: bytes, descriptors: Sequence[int]) -> bytes:
        """Return what a process says to a request, or how it ended.

        Raises:
            AgentGoneError: nobody waits for it.
        """
        ends = time.monotonic() + request.limits.seconds + GRACE_SECONDS
        line = process.line
        try:
            socket.send_fds(line, [message], descriptors)
            ready, _, _ = select.select([line, self._agent], [], [], max(0.0, ends - time.monotonic()))
            if self._agent in ready:  # the agent asks one thing at a time, so this is its end
                raise AgentGoneError
            if not ready:
                return _ended(late=True)
            said = line.recv(MESSAGE_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            said = b""
        return said or self._told_end(process)

    def _told_end(self, process: _Process) -> bytes:
        """Return how a process ended that has closed its line."""
        ends = time.monotonic() + _DYING_SECONDS
        while time.monotonic() < ends:
            found = os.waitid(os.P_PID, process.id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                if found.si_code == os.CLD_EXITED:
                    return _ended(status=found.si_status)
                return _ended(by=found.si_status, late=found.si_status == signal.SIGXCPU)
            time.sleep(0.0005)
        return _ended(by=signal.SIGKILL)

    def _end(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


_DECODED: Final = (b'{"answer": "seen"', b'{"answer": "glanced"')
"""How answers about a file begin that could be decoded."""


def _ended(*, by: int = 0, status: int = 0, late: bool = False) -> bytes:
    return answer("ended", signal=by, status=status, late=late)


def prepare() -> tuple[bool, bool]:
    """Give up what the program needs no more, before it is given any file; return whether network and files can be left."""
    confinement.be_first_to_die()
    network = confinement.leave_network()
    confinement.give_up_privileges()
    for module in pkgutil.walk_packages(
        av.__path__, "av."
    ):  # libraries load parts when they need them, which is too late
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    Image.init()
    return network, confinement.can_leave_files()


def main(arguments: Sequence[str], reader: Reader = read) -> None:
    """Run the program.

    Args:
        arguments: the number of the socket's descriptor.
        reader: what reads a file.
    """
    agent = socket.socket(fileno=int(arguments[0]))
    network, files = prepare()
    agent.send(answer("ready", network=network, files=files))
    Program(agent, reader).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
