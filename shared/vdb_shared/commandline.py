"""The edge of every console script: errors become one line and an exit code.

Promises that no traceback reaches a user unless --debug is given. Exit codes: 0 done, 1 failed, 2 unusable arguments or
output, so that no result is taken for a failed one because its words could not be written, 130 interrupted. Leaves parsing and
output to the scripts.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import typer

from vdb_shared.errors import UsageError, VdbError

Mistake = TypeVar("Mistake", bound=VdbError)

FAILED: Final = 1
UNUSABLE: Final = 2
INTERRUPTED: Final = 130

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How systems say that a disk takes no more."""

_KEPT: Final = frozenset("\n\t")

_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of controls, formats (bidirectional ones too), surrogates, unassigned, separators of lines."""

_OURS: Final = ("vdb_shared", "vdb_coordinator", "vdb_participant")


def run_script(program: Callable[[], object], *, extra: str = "") -> None:
    """Run a console script and exit; errors are told in one line on standard error.

    Args:
        program: the script; exits by itself with other codes where it has them.
        extra: the extra of the distribution that the script needs, or "".
    """
    _open_closed_streams()
    _speak_utf8()
    if "--debug" in sys.argv[1:]:
        program()
        return
    try:
        _run(program)
    except KeyboardInterrupt:
        _exit("stopped; run the same command again to go on", INTERRUPTED)
    except UsageError as error:
        _exit(f"error: {error}", UNUSABLE)
    except BrokenPipeError:
        _exit("stopped: nobody reads the output any more", UNUSABLE)
    except Exception as error:  # the outermost edge: a mistake of ours must not end in a traceback either
        _exit(f"error: {_told(error, extra)}", UNUSABLE if _is_of_the_output(error) else FAILED)


def tell_all_but_last(mistakes: Sequence[Mistake]) -> Mistake:
    """Print all mistakes but the last on standard error, and return that one, with which the program ends."""
    *before, last = mistakes
    for mistake in before:
        sys.stderr.write(shown(f"error: {mistake}") + "\n")
    return last


def agreed(question: str, *, err: bool = False) -> bool:
    """Ask a question, and return whether the answer is yes; Ctrl-C and the end of the input are a no.

    Args:
        question: without "[y/N]".
        err: whether it is asked on standard error.
    """
    try:
        return typer.confirm(question, default=False, err=err)
    except typer.Abort:
        sys.stderr.write("\n")
        return False


def secret(question: str, *, twice: bool = False) -> str:
    """Ask for what is not shown while it is typed; Ctrl-C stops the program.

    Args:
        question: without a colon.
        twice: whether it is asked for again, until both are the same.
    """
    try:
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice))
    except typer.Abort:
        raise KeyboardInterrupt from None


def shown(text: str) -> str:
    """Return a text with U+FFFD for every character that a terminal would act on, or that has no shape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in _KEPT or unicodedata.category(character) not in _UNSHOWN
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def _open_closed_streams() -> None:
    """Let standard streams that were closed before the start lead nowhere: no file that is opened later takes their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number and not _is_open(number):
                nowhere = os.dup2(nowhere, number)
            setattr(sys, name, open(nowhere, mode, encoding="utf-8"))  # noqa: SIM115 (open until the end)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _speak_utf8() -> None:
    """Write UTF-8 whatever the locale says, as Python does by itself in the locale "C" (PEP 538)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _run(program: Callable[[], object]) -> None:
    try:
        program()
    except SystemExit as exit_:
        _flush()
        if exit_.code == INTERRUPTED:  # how the argument parser passes a keyboard interrupt on
            raise KeyboardInterrupt from exit_
        raise
    _flush()


def _flush() -> None:
    """Write out what standard output holds back, so that nobody takes a part for the whole.

    Raises:
        OSError: it takes no more. A pipe whose reader has seen enough is no error.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go()


def _told(error: Exception, extra: str) -> str:
    """Return what a user can do about an error."""
    if isinstance(error, VdbError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing(error, extra)
    if isinstance(error, OSError) and error.errno in _FULL:
        what = f"{error.filename}:" if error.filename else "the output"
        return f"{what} cannot be written ({error.strerror}); make room and run the same command again"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; add --debug before the command to see where"
    return _mistake(error)


def _is_of_the_output(error: Exception) -> bool:
    """Return whether it is the output that takes no more, not a file that has a name."""
    return isinstance(error, OSError) and error.errno in _FULL and not error.filename


def _missing(error: ModuleNotFoundError, extra: str) -> str:
    if not extra or error.name is None or error.name.split(".")[0] in _OURS:
        return _mistake(error)
    package = f"pip install 'video-diffusion-bench[{extra}]'"
    return (
        f"the packages of the {extra} are not all installed (the Python module {error.name} is missing); install them with: "
        f"{package} (in a checkout: pip install '.[{extra}]')"
    )


def _mistake(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"this is a mistake in the program ({type(error).__name__}: {text}); add --debug before the command to see where"


def _let_go() -> None:
    """Keep the interpreter from writing once more, at its end, what nobody takes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(line: str, code: int) -> None:
    """Say one line on standard error and exit; what standard output still holds back and cannot write is let go."""
    sys.stderr.write(f"{shown(' '.join(line.splitlines()))}\n")  # a file's name may hold lines of its own
    try:
        sys.stdout.flush()
    except OSError:
        _let_go()
    sys.exit(code)
