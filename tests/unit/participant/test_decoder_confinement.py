"""What keeps a decoder in: limits that hold, things it cannot reach, and an end when the agent ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from testkit.decoding import ordering, plainly, write_clip
from testkit.obedient_decoder import PROGRAM
from vdb_participant.commands.doctor import Status, Subject, examine
from vdb_participant.data.decoding.decoder import Decoder, process_decoder
from vdb_participant.data.decoding.media import Limits
from vdb_participant.site.config import StateFolder
from vdb_shared.errors import DatasetError


@pytest.fixture(scope="module")
def obedient() -> Iterator[Decoder]:
    with Decoder(PROGRAM) as found:
        yield found


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


@pytest.mark.parametrize("order", ["spin", "sleep"])
def test_a_decoder_that_does_not_come_back_is_ended(obedient: Decoder, clip: Path, order: str) -> None:
    with pytest.raises(DatasetError, match=r"decoding took longer than 0\.2 s; cut it into clips"):
        obedient.video(ordering(clip, order), limits=Limits(seconds=0.2))
    assert obedient.count(clip, at_most=99) == 13


def test_memory_is_bounded(obedient: Decoder, clip: Path) -> None:
    limits = Limits(memory=2**28)
    with pytest.raises(DatasetError, match=r"decoding takes more than 268435456 bytes; re-encode it"):
        obedient.video(ordering(clip, "eat"), limits=limits)
    assert obedient.video(clip, limits=limits).frames.shape == (13, 48, 48, 3)


def test_a_decoder_can_reach_nothing(obedient: Decoder, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = obedient.started()
    tried = {
        "write": True,
        "network": ready.network,
        "connect": ready.network,
        "read": ready.files,
        "start": ready.files,
        "signal": ready.files,
    }
    for order in (order for order, must_fail in tried.items() if must_fail):
        with pytest.raises(DatasetError) as refusal:
            obedient.count(ordering(clip, order), at_most=1)
        assert str(refusal.value).rpartition(": ")[2] in ("PermissionError", "OSError"), order
    assert obedient.count(clip, at_most=1) == 1


def test_a_decoder_knows_no_secret_of_the_agent(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDB_PASSPHRASE", "not for files")
    with Decoder(PROGRAM) as decoder, pytest.raises(DatasetError, match="no reason was given"):
        decoder.count(ordering(clip, "environment"), at_most=1)


def _is_alive(process: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


AGENT = """
import sys
from pathlib import Path
from vdb_participant.data.decoding.decoder import Decoder
from vdb_shared.errors import DatasetError
from testkit.obedient_decoder import PROGRAM

decoder = Decoder(PROGRAM)
try:
    decoder.count(Path(sys.argv[1]), at_most=1)
except DatasetError as error:
    print(*str(error).split()[-2:], flush=True)
decoder.count(Path(sys.argv[2]), at_most=1)
print("read", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("busy", [True, False])
def test_decoders_end_with_an_agent_that_is_killed(clip: Path, busy: bool) -> None:
    second = ordering(clip, "sleep") if busy else clip
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, ordering(clip, "tree"), second],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert agent.stdout is not None
    program = int(agent.stdout.readline().split()[1])
    if busy:
        wait_until(lambda: len(_children(program)) == 1)
    else:
        assert agent.stdout.readline() == "read\n"
    (decoding,) = _children(program)
    assert _is_alive(program)
    assert _is_alive(decoding)
    agent.kill()
    agent.communicate()
    wait_until(lambda: not _is_alive(program) and not _is_alive(decoding))


def wait_until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def _children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_the_program_loads_no_framework() -> None:
    program = "import sys, vdb_participant.data.decoding.process; print([n for n in sys.argv[1:] if n in sys.modules])"
    heavy = ["torch", "diffusers", "transformers", "pydantic", "cv2", "scipy", "grpc"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_starts_no_thread(clip: Path) -> None:
    """A confined process could not: its user may start nothing more."""
    program = (
        "import os, sys\n"
        "from vdb_participant.data.decoding.glances import glance\n"
        "from vdb_participant.data.decoding.media import DEFAULT_LIMITS, Source, read_frames\n"
        "threads = []\n"
        "def count(*_): threads.append(len(os.listdir('/proc/self/task')))\n"
        "for read, *more in ((read_frames, None), (glance,)):\n"
        "    with Source(os.open(sys.argv[1], os.O_RDONLY), '.mp4') as source:\n"
        "        read(source, *more, DEFAULT_LIMITS, count)\n"
        "print(set(threads))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, clip],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.stdout == "{1}\n"


KERNEL_WITHOUT = (
    "import sys\n"
    "from vdb_participant.data.decoding import confinement, process\n"
    "confinement.leave_network = lambda: False\n"
    "confinement._landlock_version = lambda: -1\n"
    "process.main(sys.argv[1:])\n"
)


def test_an_older_kernel_leaves_the_limits_and_is_told(clip: Path) -> None:
    with Decoder(("-c", KERNEL_WITHOUT)) as decoder:
        assert (decoder.started().network, decoder.started().files) == (False, False)
        np.testing.assert_array_equal(decoder.video(clip).frames, plainly(clip))
        with pytest.raises(DatasetError, match="took longer than 0 s"):
            decoder.video(clip, limits=Limits(seconds=0.0))


def test_doctor_says_what_keeps_the_decoder_in(tmp_path: Path) -> None:
    subject = Subject(StateFolder(tmp_path / "state"), lambda: b"")
    (found,) = [finding for finding in examine(subject) if finding.subject == "decoder"]
    ready = process_decoder().started()
    assert (found.status is Status.PASS) == (ready.network and ready.files)


def test_nothing_else_opens_media() -> None:
    """Every other module hands files to the decoder; `video.py` writes the project's own clips."""
    participant = Path(__file__).parents[3] / "participant" / "vdb_participant"
    opening = {
        path.relative_to(participant).as_posix(): re.findall(
            r"\b(?:av\.open|Image\.open|VideoCapture|imread)\b.*", text
        )
        for path in participant.rglob("*.py")
        if re.search(r"\b(?:av\.open|Image\.open|VideoCapture|imread)\b", text := path.read_text(encoding="utf-8"))
    }
    assert opening.keys() == {"data/decoding/media.py", "data/video.py"}
    assert opening["data/video.py"] == ['av.open(str(path), "w", format="mp4") as container:']
