"""Stopping when the operating system asks for it (SIGTERM): at the end of a clip that is being made, at once otherwise.

Promises nothing about what is kept: that is the journal's and the store's doing, whatever ends the process. This only spares
the steps of a clip. A second request stops at once. Leaves what is said, and the exit status, to the command line.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from vdb_participant.session.progress import Progress

GENERATING = "generating "
"""Begins the name of every stage in which clips are made."""


@dataclass(slots=True)
class Stopping:
    """Whether we were asked to stop, and whether a clip is under way.

    Attributes:
        show: told of progress, which passes through here.
        say: told once that we stop at the end of the clip.
    """

    show: Progress
    say: Callable[[str], None]
    _stage: str = field(default="", init=False)
    _done: int = field(default=0, init=False)
    _under_way: bool = field(default=False, init=False)
    _asked: bool = field(default=False, init=False)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show progress, and stop if we were asked to and a clip has ended.

        Raises:
            KeyboardInterrupt: we were.
        """
        self.show(stage, done, total)
        ended = (stage, done) != (self._stage, self._done)
        self._stage, self._done = stage, done
        self._under_way = stage.startswith(GENERATING) and done < total
        if self._asked and ended and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    def ask(self) -> None:
        """Stop at the end of the clip that is being made.

        Raises:
            KeyboardInterrupt: none is, or we were asked before.
        """
        if self._asked or not self._under_way:
            raise KeyboardInterrupt
        self._asked = True
        self.say("stopping at the end of this clip; ask again to stop at once")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM as a request to stop for the length of a block; only where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._asked_by_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _asked_by_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.ask()
