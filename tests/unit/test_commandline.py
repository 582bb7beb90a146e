"""The edge of every command: output that cannot be written or spelled, and mistakes, each in one line."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from select import select
from typing import IO

import pytest

FULL = Path("/dev/full")
PATIENCE = 60
"""Seconds."""


def ended(program: str, out: IO[bytes] | int = subprocess.PIPE, **environment: str) -> tuple[int, bytes, str]:
    """Run a script around a program of one line; return its exit code, output and errors."""
    script = f"import sys, typer; from vdb_shared.commandline import run_script\nrun_script(lambda: {program})"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=out, stderr=subprocess.PIPE, check=False, env=os.environ | environment
    )
    return done.returncode, done.stdout or b"", done.stderr.decode()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    "program",
    ["print('PASS')", "sys.stdout.write('PASS' * 100_000)", "(print('PASS'), sys.exit(0))", "typer.echo('PASS')"],
)
def test_output_that_cannot_be_written_is_an_error_and_no_success(program: str) -> None:
    with FULL.open("wb") as full:
        code, _, errors = ended(program, full)
    assert code == 2
    assert errors.startswith("error: the output cannot be written (No space left on device); make room")
    assert errors.count("\n") == 1


def test_a_full_disk_elsewhere_is_named_and_so_is_a_file_with_another_trouble() -> None:
    full = "(_ for _ in ()).throw(OSError(28, 'No space left on device', 'kept.bin'))"
    assert ended(full)[2].startswith("error: kept.bin: cannot be written (No space left on device); make room")
    assert ended("open('nowhere')")[2].startswith("error: nowhere: No such file or directory; add --debug")
    assert "a mistake in the program (OSError: unnamed)" in ended("(_ for _ in ()).throw(OSError('unnamed'))")[2]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    end, start = os.pipe()
    os.close(end)
    with os.fdopen(start, "wb") as unread:
        assert ended("print('PASS')", unread, PYTHONUNBUFFERED="")[::2] == (0, "")
        stopped = ended("print('PASS')", unread, PYTHONUNBUFFERED="1")
    assert stopped[::2] == (2, "stopped: nobody reads the output any more\n")


def closed(program: str, *streams: int) -> tuple[int, str]:
    """Run a script whose standard streams with these numbers were closed before its start; return exit code and the rest."""
    script = f"import os, sys, typer; from vdb_shared.commandline import run_script\nrun_script(lambda: {program})"
    shut = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in streams)
    words = ["sh", "-c", f'"$0" -c "$1" {shut}', sys.executable, script]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("streams", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_streams_lead_nowhere_and_no_file_takes_their_place(streams: tuple[int, ...], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    said = "typer.echo('PASS'), sys.stderr.write('told'), sys.stdin.read()"
    program = f"[{said}, open({str(kept)!r}, 'w').fileno()][3] > 2 or sys.exit(7)"
    code, out = closed(program, *streams)
    assert (code, "Traceback" in out) == (0, False), out
    assert ("PASS" in out, "told" in out) == (1 not in streams, 2 not in streams)
    assert closed("(_ for _ in ()).throw(ValueError('why'))", *streams)[0] == 1


def answered(program: str, typed: str, *, interrupt: bool = False) -> tuple[int, str]:
    """Run a script that asks at a terminal; return exit code and what stands there."""
    script = f"import sys; from vdb_shared.commandline import agreed, run_script, secret\nrun_script(lambda: {program})"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])  # noqa: S606 (no shell is wanted)
    shown = b""
    while not shown.endswith(
        (b"]: ", b"word: ")
    ):  # with its last blank the question has been asked, and the terminal is set
        assert select([terminal], [], [], PATIENCE)[0], shown
        shown += os.read(terminal, 1000)
    os.write(terminal, b"\x03" if interrupt else typed.encode())
    try:
        while select([terminal], [], [], PATIENCE)[0] and (more := os.read(terminal, 1000)):
            shown += more
    except OSError:  # how Linux tells that the other end of a terminal is closed
        pass
    os.kill(child, signal.SIGKILL)  # if it waits still; one that has ended keeps its exit code
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_an_interrupted_question_is_a_no_and_never_says_that_something_was_aborted() -> None:
    asked = "sys.exit(5 if agreed('Abort the session?') else 4)"
    assert answered(asked, "y\n")[0] == 5
    assert answered(asked, "\n")[0] == 4
    for code, shown in (answered(asked, "\x04"), answered(asked, "", interrupt=True)):
        assert code == 4
        assert "Aborted" not in shown
    code, shown = answered("sys.exit(secret('Password') != 'open sesame')", "", interrupt=True)
    assert (code, "Aborted" in shown) == (130, False)
    assert "stopped; run the same command again to go on" in shown


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_words_are_written_whole_in_a_locale_that_lacks_their_signs(encoding: str) -> None:
    code, out, errors = ended("print('ε = 8, “東京” \\udcff')", PYTHONIOENCODING=encoding)
    assert (code, errors) == (0, "")
    assert out == "ε = 8, “東京” \\udcff\n".encode()


def test_a_name_with_lines_of_its_own_says_them_in_one() -> None:
    code, _, errors = ended("open('no\\nerror: all is well')")
    assert (code, errors) == (
        1,
        "error: no error: all is well: No such file or directory; add --debug before the command to see where\n",
    )
