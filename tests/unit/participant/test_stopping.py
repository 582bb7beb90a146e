"""SIGTERM: a clip under way is finished first, everything else stops at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vdb_participant.session.stopping import Stopping

STAGE = "generating with a"


class Screen:
    def __init__(self) -> None:
        self.shown: list[tuple[str, int, int]] = []
        self.said: list[str] = []

    def show(self, stage: str, done: int, total: int) -> None:
        self.shown.append((stage, done, total))

    def stopping(self) -> Stopping:
        return Stopping(self.show, self.said.append)


def test_a_clip_under_way_is_finished_first() -> None:
    screen = Screen()
    stopping = screen.stopping()
    stopping(STAGE, 0, 3)
    stopping.ask()
    assert screen.said == ["stopping at the end of this clip; ask again to stop at once"]
    stopping(STAGE, 0, 3)  # a step of the same clip, as workers tell it
    with pytest.raises(KeyboardInterrupt):
        stopping(STAGE, 1, 3)
    assert screen.shown[-1] == (STAGE, 1, 3), "the clip is shown as finished"


@pytest.mark.parametrize("told", [[], [("measuring a", 1, 3)], [(STAGE, 3, 3)], [(STAGE, 0, 0)]])
def test_anything_else_stops_at_once(told: list[tuple[str, int, int]]) -> None:
    stopping = Screen().stopping()
    for item in told:
        stopping(*item)
    with pytest.raises(KeyboardInterrupt):
        stopping.ask()


def test_who_asks_twice_is_in_a_hurry() -> None:
    stopping = Screen().stopping()
    stopping(STAGE, 0, 3)
    stopping.ask()
    with pytest.raises(KeyboardInterrupt):
        stopping.ask()


def test_the_signal_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopping = Screen().stopping()
    with pytest.raises(KeyboardInterrupt), stopping.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_agent_in_a_thread_of_a_program_leaves_signals_alone() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Screen().stopping().listening():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


PROGRAM = """
import sys, time
from pathlib import Path
from vdb_participant.session.stopping import Stopping
from vdb_shared.commandline import run_script

folder = Path(sys.argv[1])

def main():
    stopping = Stopping(lambda *_: None, lambda words: print(words, flush=True))
    with stopping.listening():
        for clip in range(100):
            stopping("generating with a", clip, 100)
            for step in range(5):
                (folder / f"{clip}.{step}").touch()
                print("step", flush=True)
                time.sleep(0.1)

run_script(main)
"""


def test_a_process_ends_between_two_clips(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(7):
            process.stdout.readline()  # into the second clip
        process.send_signal(signal.SIGTERM)
        _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complained == "stopped; run the same command again to go on\n"
    assert len(list(tmp_path.iterdir())) % 5 == 0, "a clip was left in the middle"
    assert 10 <= len(list(tmp_path.iterdir())) < 50
