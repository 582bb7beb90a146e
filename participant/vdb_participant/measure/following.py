"""Measuring clips on a thread of its own, in a fixed order, while others are still being generated.

Promises that sums are those of measuring after generation, to the last bit, since the order is the same; that memory holds one
clip under measurement however far generation is ahead (clips wait in the store, here wait their numbers only); and that a
failure of the thread stops generation at the next clip.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class _AbandonedError(Exception):
    """The work is not wanted any more."""


@dataclass(slots=True)
class Follower(Generic[Key]):
    """Measures items one after the other, each as soon as it and all before it are settled.

    Attributes:
        keys: of the items in the order in which they are measured; several items may have one key.
        measure: given the number of an item, and why it was given up or None.
    """

    keys: Sequence[Key]
    measure: Callable[[int, str | None], None]
    _known: dict[Key, str | None] = field(default_factory=dict)
    _measured: int = 0
    _failure: BaseException | None = None
    _abandoned: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def settled(self, key: Key, failure: str | None) -> None:
        """Take note that a clip is there, or was given up.

        Raises:
            Exception: what made measuring fail.
        """
        with self._changed:
            self._known[key] = failure
            self._changed.notify_all()
            self._raise()

    def finish(self, progress: Callable[[int], None]) -> None:
        """Wait until all is measured, telling how many are.

        Raises:
            Exception: what made measuring fail.
        """
        told = 0
        while told < len(self.keys):
            with self._changed:
                while self._measured == told and self._failure is None:
                    self._changed.wait()
                self._raise()
                told = self._measured
            progress(told)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Measure on a thread inside the block; what is not measured when it ends is left."""
        thread = threading.Thread(target=self._run, name="measuring", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._abandoned = True
                self._changed.notify_all()
            thread.join()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            for number, key in enumerate(self.keys):
                self.measure(number, self._wait_for(key))
                with self._changed:
                    self._measured = number + 1
                    self._changed.notify_all()
        except _AbandonedError:
            return
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _wait_for(self, key: Key) -> str | None:
        with self._changed:
            while key not in self._known:
                if self._abandoned:
                    raise _AbandonedError
                self._changed.wait()
            if self._abandoned:
                raise _AbandonedError
            return self._known[key]
