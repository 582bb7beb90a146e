"""A disk that ends the process at one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class KilledError(Exception):
    """The process ends here."""


class FailingDisk:
    """Ends the process at one operation, before or after it was done."""

    def __init__(self, failing: int, *, after: bool) -> None:
        self.failing, self.after, self.count = failing, after, -1

    def around(self, real: Callable[..., None]) -> Callable[..., None]:
        """Return an operation that counts, and fails where it is to."""

        def operation(*arguments: Any) -> None:
            self.count += 1
            fails = self.count == self.failing
            if self.after or not fails:
                real(*arguments)
            if fails:
                raise KilledError

        return operation
