"""What a database says that lacks something which was committed to it: its writer takes and signs nothing more on it.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

from vdb_shared.errors import StoreError


class FallenBackError(StoreError):
    """The database lacks what its writer knows to have been committed.

    Attributes:
        missing: what, in words.
    """

    def __init__(self, missing: str) -> None:
        """Say what is missing, and what the operator does."""
        self.missing = missing
        super().__init__(
            f"the database has gone back: {missing} is not in it any more. It is an older copy (a replica that lagged?), or "
            "rows were removed. Nothing is taken or signed on it. Stop this coordinator; then bring back the database that has "
            "everything, or `vdb-coordinator restore` a backup"
        )
