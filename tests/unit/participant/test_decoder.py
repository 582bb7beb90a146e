"""Decoding outside the agent: the same frames, and no file that takes more than its own place in the results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from testkit.agent_cli import run
from testkit.decoding import PICTURES, ordering, plainly, write_clip
from testkit.obedient_decoder import PROGRAM, ordered
from vdb_participant.data.decoding.decoder import Decoder
from vdb_participant.data.decoding.media import Limits
from vdb_participant.data.decoding.memory import KEPT
from vdb_participant.data.video import encode_mp4
from vdb_shared.errors import DatasetError, UsageError


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as found:
        yield found


@pytest.fixture(scope="module")
def obedient() -> Iterator[Decoder]:
    with Decoder(PROGRAM) as found:
        yield found


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".mp4", "libx264", "yuv420p"),
        (".mkv", "ffv1", "yuv444p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".gif", "gif", "rgb8"),
    ],
)
def test_frames_are_those_of_the_library_bit_for_bit(
    tmp_path: Path, decoder: Decoder, suffix: str, codec: str, pixels: str
) -> None:
    path = tmp_path / f"clip{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = 50, 70, pixels
        stream.thread_count = 1
        for picture in np.resize(PICTURES, (13, 50, 70, 3)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)))
        container.mux(stream.encode())
    found = decoder.video(path)
    np.testing.assert_array_equal(found.frames, plainly(path))
    np.testing.assert_array_equal(decoder.video(path, frames=5).frames, found.frames[:5])
    assert found.fps == (Fraction(25, 3) if suffix == ".gif" else 8)  # whose times are hundredths of a second
    assert decoder.count(path, at_most=100) == 13


def test_frames_are_ones_own(decoder: Decoder, clip: Path) -> None:
    one, other = decoder.video(clip).frames, decoder.video(clip).frames
    one[:] = 7
    assert not (other == 7).all()
    np.testing.assert_array_equal(other, plainly(clip))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip whose frames do not fit into what stays mapped."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8).repeat(24, 0).repeat(32, 1)
    encode_mp4(path, np.stack([np.roll(picture, 8 * step, axis=1) for step in range(26)]), fps=8)
    return path


def test_large_clips_change_hands_bit_for_bit(decoder: Decoder, large: Path, clip: Path) -> None:
    expected = plainly(large)
    assert expected.nbytes > KEPT
    for _ in range(2):
        found = decoder.video(large).frames
        np.testing.assert_array_equal(found, expected)
        found[0] = 7
        np.testing.assert_array_equal(decoder.video(clip).frames, plainly(clip))
        np.testing.assert_array_equal(found[1:], expected[1:])


def test_no_decoder_keeps_a_hold_on_frames(obedient: Decoder, large: Path, clip: Path) -> None:
    """It could change them after they were looked at."""
    path = clip.with_name("hold.mp4")
    path.write_bytes(ordered(large.read_bytes(), "hold"))
    with pytest.raises(DatasetError, match="gave an answer that cannot be"):
        obedient.video(path)
    small = obedient.video(ordering(clip, "hold")).frames
    before = small.copy()
    obedient.video(clip, frames=3)
    np.testing.assert_array_equal(small, before)


def test_threads_share_a_decoder(decoder: Decoder, clip: Path) -> None:
    expected, wrong = plainly(clip), []

    def decode_often() -> None:
        for _ in range(10):
            wrong.extend([1] if not np.array_equal(decoder.video(clip).frames, expected) else [])

    threads = [threading.Thread(target=decode_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_files_need_many_processes_and_nobody_notices(obedient: Decoder, clip: Path) -> None:
    expected = plainly(clip)
    for _ in range(70):
        np.testing.assert_array_equal(obedient.video(clip).frames, expected)


def test_without_protection_a_file_takes_the_process_along(clip: Path) -> None:
    """The attack that the decoder is for: it succeeds where a file is read in the process that asks."""
    here = [sys.executable, "-m", "testkit.obedient_decoder", "here"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def read_here(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*here, path], capture_output=True, text=True, check=False, env=environment)

    assert read_here(clip).stdout == "13\n"
    assert read_here(ordering(clip, "crash")).returncode == -signal.SIGSEGV
    assert read_here(ordering(clip, "kill")).returncode == -signal.SIGKILL


REASONS = {
    "crash": "the decoder crashed (signal 11); re-encode it or take it out",
    "abort": "the decoder crashed (signal 6); re-encode it or take it out",
    "kill": "the decoder crashed (signal 9); re-encode it or take it out",
    "exit": "the decoder failed (exit status 3); re-encode it or take it out",
    "raise": "the decoder failed (exit status 1); re-encode it or take it out",
    "babble": "the decoder gave an answer that cannot be; re-encode it or take it out",
    "lie": "the decoder gave an answer that cannot be; re-encode it or take it out",
    "resize": "PermissionError",
    "shout": "[31m" + "x" * 295,
    "environment": "no reason was given",
}


@pytest.mark.parametrize("order", REASONS)
def test_whatever_becomes_of_a_decoder_is_an_error_of_its_file(obedient: Decoder, clip: Path, order: str) -> None:
    expected = plainly(clip)
    path = ordering(clip, order)
    np.testing.assert_array_equal(obedient.video(clip).frames, expected)
    with pytest.raises(DatasetError) as refusal:
        obedient.video(path)
    assert str(refusal.value) == f"{path}: {REASONS[order]}"
    np.testing.assert_array_equal(obedient.video(clip).frames, expected)


def test_answers_are_held_against_what_was_asked(obedient: Decoder, clip: Path) -> None:
    path = ordering(clip, "boast")
    for ask in (lambda: obedient.video(path, frames=5), lambda: obedient.count(path, at_most=5)):
        with pytest.raises(DatasetError, match="gave an answer that cannot be"):
            ask()
    with pytest.raises(DatasetError, match="gave an answer that cannot be"):
        obedient.picture(path, limits=Limits(pixels=48 * 48 - 1))
    with pytest.raises(DatasetError, match="gave an answer that cannot be"):
        obedient.glance(path)


def test_a_file_that_spoils_its_process_spoils_no_other_file(obedient: Decoder, clip: Path) -> None:
    """What goes wrong in a process that has read other files is tried again in a fresh one."""
    poison = ordering(clip, "poison")
    for path in (clip, poison, clip, clip, poison, clip):
        assert obedient.count(path, at_most=99) == 13


def test_a_process_in_which_a_file_failed_reads_no_other(obedient: Decoder, clip: Path) -> None:
    for _ in range(2):
        with pytest.raises(DatasetError, match="is refused"):
            obedient.count(ordering(clip, "taint"), at_most=99)
        assert obedient.count(clip, at_most=99) == 13


class InterruptedByTestError(Exception):
    """Raised wherever the agent happens to be, as at Ctrl-C."""


def test_an_answer_that_nobody_waited_for_is_no_other_files(obedient: Decoder, clip: Path) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedByTestError

    expected, slow = plainly(clip), ordering(clip, "slow")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        obedient.started()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(InterruptedByTestError):
            obedient.count(slow, at_most=1)
    finally:
        signal.signal(signal.SIGALRM, before)
    time.sleep(1)  # by now the answer would be there
    np.testing.assert_array_equal(obedient.video(clip).frames, expected)


def test_a_program_that_was_ended_is_started_again(clip: Path) -> None:
    with Decoder(PROGRAM) as decoder:
        for _ in range(2):
            with pytest.raises(DatasetError) as refusal:
                decoder.count(ordering(clip, "tree"), at_most=1)
            program = int(str(refusal.value).split()[-1])
            os.kill(program, signal.SIGKILL)
            assert decoder.count(clip, at_most=99) == 13


def test_a_fork_of_the_agent_has_a_decoder_of_its_own(clip: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from vdb_participant.data.video import decode\n"
        "def total(name): return sum(int(decode(Path(name)).frames.sum()) for _ in range(20))\n"
        "first, second = total(sys.argv[1]), total(sys.argv[2])\n"
        "child = os.fork()\n"
        "print(total(sys.argv[2 if child else 1]) == (second if child else first), flush=True)\n"
        "child and os.waitpid(child, 0)\n"
    )
    other = clip.with_name("other.mp4")
    encode_mp4(other, np.ascontiguousarray(PICTURES[:, ::-1]), fps=8)
    done = subprocess.run(
        [sys.executable, "-c", program, clip, other],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split() == ["True", "True"]


def test_a_decoder_that_cannot_start_is_the_machines_fault(clip: Path) -> None:
    with Decoder(("-c", "raise SystemExit(7)")) as decoder, pytest.raises(UsageError, match="exit status 7") as refusal:
        decoder.count(clip, at_most=1)
    assert not isinstance(refusal.value, DatasetError)


def test_a_pipe_in_place_of_a_file_blocks_nobody(tmp_path: Path, decoder: Decoder) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(DatasetError, match=r"cannot be decoded: is not a file"):
        decoder.video(tmp_path / "clip.mp4")


OBEDIENT_AGENT = (
    "from vdb_participant.data.decoding.decoder import process_decoder\n"
    f"process_decoder()._words = {PROGRAM!r}\n"
    "from vdb_participant.cli import main; main()"
)


def test_a_data_directory_with_files_that_crash_decoders_is_read_to_its_end(clip: Path, site_data: Path) -> None:
    data = clip.parent / "data"
    shutil.copytree(site_data, data)
    victim = data / "clips" / "site5-0003.mp4"
    for order in ("crash", "kill", "exit", "poison"):
        (data / "clips" / f"bad-{order}.mp4").write_bytes(ordered(victim.read_bytes(), order))
    done = run("data", "check", data, "--json", program=OBEDIENT_AGENT, PYTHONPATH=os.pathsep.join(sys.path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["clips"] == 13
    assert {problem["file"]: problem["reason"] for problem in found["problems"]} == {
        f"clips/bad-{order}.mp4": REASONS[order] for order in ("crash", "kill", "exit")
    }
    assert any({"clips/bad-poison.mp4", "clips/site5-0003.mp4"} <= set(group) for group in found["alike"])
