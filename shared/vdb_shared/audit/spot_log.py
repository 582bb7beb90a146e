"""Whether the log that chose the lines of a spot check is the one that its auditor knows: S05.

Promises that every state of the log at hand is compared with every other one that it can be compared with, and that a log which
cannot be read, or is an older copy, answers nothing. Leaves the rest of what a log says to the audit of the result.

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TypeAlias

from vdb_shared.audit.checks.base import Finding, demand, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.bundle.sample_choice import parse_choice, place_of, verify_choice
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import FormatError, SignatureError, UnreachableError, UsageError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, Fetch, TiledLog

State: TypeAlias = tuple[str, Checkpoint]
"""A state of the log, and what shows it."""


def note_of(remembered: bytes | None) -> bytes | None:
    """Return the signed note in what an auditor kept: a note itself, or the file with which it asked."""
    if remembered is None:
        return None
    try:
        return parse_choice(remembered).checkpoint
    except FormatError:
        return remembered


def known_log(
    evidence: Evidence, heads: tuple[Checkpoint, Checkpoint], fetch: Fetch | None, remembered: bytes | None
) -> Finding:
    """Return whether the log that chose is the one that the auditor knows.

    Args:
        evidence: of the result.
        heads: the state that chose, and the later one that the log signed, as the file shows them.
        fetch: reads files of the log; None without access to it.
        remembered: what the auditor kept, or None.

    Raises:
        VerificationError: S05: two logs are shown.
    """
    head, signed = heads
    shown = [("the state that chose", head), ("the checkpoint in the file", signed)]
    try:
        kept = [] if remembered is None else _kept(evidence, remembered)
    except (FormatError, SignatureError) as error:
        return Finding(Status.SKIPPED, f"What you kept of the log could not be compared: {error}.")
    _check_choices(kept, head)
    _check_sizes([*shown, *kept])
    try:
        within = None if fetch is None else _within(_read_log(evidence, fetch), [*shown, *kept])
    except (UnreachableError, UsageError, FormatError, SignatureError) as error:
        return Finding(Status.SKIPPED, f"The log could not be read: {error}.")
    if within is not None:
        within()
        also = " and of what you kept" if kept else ""
        return passed(f"The log that chose is the one that you know: it is the beginning of the log{also}.")
    if {head.size, signed.size} & {state.size for _, state in kept}:
        return passed("The log that chose is the one that what you kept shows.")
    return not_proven(
        "That the coordinator did not show this institution a log of its own is seen in the log itself: give it with --log, or "
        "with --checkpoint the file with which you asked. A checkpoint of another size is compared through the log alone."
    )


def _read_log(evidence: Evidence, fetch: Fetch) -> TiledLog:
    return TiledLog(read_checkpoint(fetch(CHECKPOINT_PATH), log_key(evidence.roster))[0], fetch)


def _kept(evidence: Evidence, remembered: bytes) -> list[State]:
    """Return the states of the log that an auditor kept.

    Raises:
        FormatError, SignatureError: it is none of this log.
    """
    key = log_key(evidence.roster)
    if note_of(remembered) == remembered:
        return [("your checkpoint", read_checkpoint(remembered, key)[0])]
    head, signed = verify_choice(parse_choice(remembered), place_of(evidence.result_proof, key), key)
    return [(_ASKED, head), ("the checkpoint with which you asked", signed)]


_ASKED = "the file with which you asked"


def _check_choices(kept: Iterable[State], head: Checkpoint) -> None:
    """Check that the log chose once: two states that both choose are of two logs, whatever their sizes."""
    for what, state in kept:
        if what == _ASKED:
            demand(
                "S05",
                state == head,
                f"{what} has a state of {state.size} entries that chooses, this one a state of {head.size}, and a log has one: "
                "the coordinator signed two logs, and both files prove it; keep them.",
            )


def _check_sizes(states: Sequence[State]) -> None:
    for (one, first), (other, second) in combinations(states, 2):
        demand(
            "S05",
            first.size != second.size or first.root == second.root,
            f"{one} and {other} show two different logs of {first.size} entries, both signed by the coordinator.",
        )


def _within(log: TiledLog, states: Sequence[State]) -> Callable[[], None]:
    """Return what checks that a log begins with all of these states, once everything that it takes was read.

    Raises:
        UsageError: the log is an older copy, which proves nothing of what came later.
        UnreachableError, FormatError: it cannot be read.
        VerificationError: S05: it is an older copy of another log.
    """
    size = log.checkpoint.size
    what, latest = max(states, key=lambda state: state[1].size)
    known = [(name, state, log.root_at(state.size)) for name, state in states if state.size <= size]

    def check() -> None:
        for name, state, root in known:
            demand("S05", root == state.root, f"the log does not begin with the {state.size} entries of {name}.")

    if size < latest.size:
        check()
        raise UsageError(f"it has {size} entries, fewer than the {latest.size} of {what}: an older copy of it")
    return check
