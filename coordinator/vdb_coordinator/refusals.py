"""What the coordinator answers instead of doing it: a reason for programs and one line for people.

Source: protos/README.md §11.5.
"""

from __future__ import annotations

from typing import Final

from vdb_shared.errors import VdbError


class RefusedError(VdbError):
    """A request that is refused.

    Attributes:
        reason: one of `vdb_shared.wire.reasons`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason: Final = reason
