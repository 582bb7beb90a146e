"""What happens inside a confined process: it is asked for one file after the other, and answers.

Promises an answer for every error that is the file's. Any other ends the process, which `process.py` tells of. Leaves limits to
`confinement.py`, frames to `memory.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from vdb_participant.data.decoding import confinement
from vdb_participant.data.decoding.glances import glance
from vdb_participant.data.decoding.media import Size, Source, count_frames, read_frames, read_picture
from vdb_participant.data.decoding.memory import Output
from vdb_participant.data.decoding.messages import MESSAGE_BYTES, Request, answer
from vdb_shared.errors import DatasetError

Reader = Callable[[Request, Source, Output], bytes]
"""Reads a file and returns the answer; raises DatasetError if the file cannot be used."""


def read(request: Request, source: Source, output: Output) -> bytes:
    """Return the answer to a request, with frames in `output`.

    Raises:
        DatasetError: the file cannot be used.
    """
    limits = request.limits
    match request.kind:
        case "video":
            return _seen(read_frames(source, request.frames or None, limits, output))
        case "picture":
            return _seen(read_picture(source, limits, output))
        case "count":
            return answer("seen", frames=count_frames(source, request.frames, limits), height=0, width=0, rate=(0, 1))
        case "glance":
            found = glance(source, limits, output)
            return answer(
                "glanced",
                **_facts(found.size),
                small=(found.height, found.width),
                numbers=found.numbers,
                ended=found.ended,
            )


def answer_all(program: socket.socket, reader: Reader, seconds: float) -> None:
    """Answer requests until the program closes its end.

    Args:
        program: where requests come from.
        reader: what reads a file.
        seconds: of processor time for a file, beyond its own.
    """
    output = Output()
    while True:
        message, descriptors, _, _ = socket.recv_fds(program, MESSAGE_BYTES, 2)
        if not message:
            return
        request = Request.from_bytes(message)
        confinement.bound_time(request.limits.seconds + seconds)
        memory = descriptors[1] if len(descriptors) > 1 else -1
        output.begin(memory, request.output)
        with Source(descriptors[0], request.suffix) as source:
            try:
                reply = reader(request, source, output)
            except DatasetError as error:
                reply = answer("refused", reason=str(error))
            except MemoryError:
                reply = answer(
                    "refused", reason=f"decoding takes more than {request.limits.memory} bytes; re-encode it"
                )
        if memory >= 0:
            os.close(memory)
        program.send(reply)


def _seen(size: Size) -> bytes:
    return answer("seen", **_facts(size))


def _facts(size: Size) -> dict[str, object]:
    return {"frames": size.frames, "height": size.height, "width": size.width, "rate": size.fps.as_integer_ratio()}
