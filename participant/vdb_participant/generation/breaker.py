"""The circuit breaker: a model that fails clip after clip is stopped, and the next one goes on.

Promises that the count outlives a restart and is shared by all agents on one store, and that a stopped model stays stopped
until somebody resets it. Clips of private prompts never move it, or one private record would decide about other clips
(`engine.py`, which also records clips as failed).

    DIR/<first 16 hex digits of the model's manifest digest>.breaker     canonical JSON: failures in a row, reason of the last
"""

from __future__ import annotations

from typing import Any, Final

from vdb_participant.generation.claims import claimed
from vdb_participant.generation.store import ClipStore
from vdb_participant.site.storage import write_durably
from vdb_shared.bundle.samples import Failure
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError, StoreError

FAILURES_IN_A_ROW: Final = 3
"""One clip may be unlucky and two may share a bad prompt; a third in a row is the model's own fault."""


_STOPPED: Final = "the model was stopped after"


def failure_of(reason: str) -> Failure:
    """Return what may be said elsewhere of a clip that was given up for a reason: untried, since others had failed, or not."""
    return Failure.STOPPED if reason.startswith(_STOPPED) else Failure.ENDED


class Breaker:
    """The breaker of one model in one store."""

    def __init__(self, store: ClipStore, model: str, limit: int = FAILURES_IN_A_ROW) -> None:
        """Bind a model, named by the digest of its weights manifest."""
        self._path = store.directory / f"{model.removeprefix('sha256:')[:16]}.breaker"
        self._limit = limit

    def stopped(self) -> str | None:
        """Return why the model is stopped, or None while it is not."""
        count, last = self._read()
        if count < self._limit:
            return None
        return f"{_STOPPED} {count} clips in a row failed; the last: {last}"

    def failed(self, reason: str) -> None:
        """Count a clip that failed for good."""
        with claimed(self._path.with_suffix(".lock"), wait=True):
            count, _ = self._read()
            self._write(canonical_json({"failures": count + 1, "last": reason}))

    def succeeded(self) -> None:
        """Begin to count anew."""
        if self._path.exists():
            with claimed(self._path.with_suffix(".lock"), wait=True):
                self._path.unlink(missing_ok=True)

    reset = succeeded

    def _read(self) -> tuple[int, str]:
        try:
            found: Any = parse_canonical_json(self._path.read_bytes())
            return int(found["failures"]), str(found["last"])
        except FileNotFoundError:
            return 0, ""
        except (FormatError, KeyError, TypeError, ValueError):
            return 0, ""  # damaged: the failures themselves are still in the store, and three more stop it again
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        try:
            write_durably(self._path, data)
        except StoreError as error:
            raise StoreError(f"{error}; free space and start again") from error


def try_again(store: ClipStore, model: str) -> int:
    """Reset a model's breaker and forget its failures, so that its clips are made again; return how many there were.

    Args:
        store: of the clips.
        model: digest of its weights manifest.
    """
    Breaker(store, model).reset()
    return store.forget_failures(model)
