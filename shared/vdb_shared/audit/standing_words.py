"""What was said of a result since it was published, in words.

Promises one line for each thing that was said, that what stands between “ and ” is what a key signed and nothing else, and that
no words of others look like a line of their own. Leaves what was said to `standing.py`.

Source: protos/README.md §10.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vdb_shared.audit.standing import Objected, Standing, Successor, Withdrawn
from vdb_shared.wording import counted

_QUOTES: Final = str.maketrans(dict.fromkeys("“„‟〝❝", "‘") | dict.fromkeys("”〞〟❞", "’"))
"""Double quotation marks, and the single ones that are shown in their place inside a quotation."""

_SHOWN: Final = 8
"""Entries of a log that are named one by one."""


def quoted(text: str) -> str:
    """Return somebody's words between “ and ”, with neither of them inside, and without runs of blanks."""
    return f"“{' '.join(text.translate(_QUOTES).split())}”"


def named_entries(entries: Sequence[int]) -> str:
    """Return entries of a log as the beginning of a sentence, such as "Entry 4" or "Entries 4, 7 and 3 more"."""
    if len(entries) == 1:
        return f"Entry {entries[0]}"
    first = [str(entry) for entry in entries[:_SHOWN]]
    rest = len(entries) - len(first)
    *others, last = [*first, f"{rest} more"] if rest else first
    return f"Entries {', '.join(others)} and {last}"


def unread(entries: Sequence[int], of: str) -> str:
    """Return that entries of a log cannot be read.

    Args:
        entries: their numbers; at least one.
        of: what is not known for that reason.
    """
    return (
        f"{named_entries(entries)} of the log cannot be read by this version, so {of} is not known: try a newer vdb-audit, or "
        "ask the lead."
    )


def words_of(standing: Standing) -> Sequence[str]:
    """Return in words all that speaks about a result: its withdrawal first, then what replaces it, then objections."""
    unreadable = (unread(standing.unreadable, "what is said there of the result"),) if standing.unreadable else ()
    return (
        *_withdrawal_words(standing),
        *(_further_words(item, read=standing.read) for item in standing.further),
        *(_successor_words(item) for item in standing.successors),
        *(_objection_words(item, read=standing.read) for item in standing.objections),
        *(f"The log is not in order: {fault}." for fault in standing.faults),
        *unreadable,
        *(f"{_printable(name)} was not counted: {why}." for name, why in standing.refused.items()),
    )


def summary_of(standing: Standing) -> str:
    """Return in one sentence, without anybody's words, what `words_of` says line by line."""
    objections, doubted = len(standing.counted), len(standing.objections) - len(standing.counted)
    parts = (
        "WITHDRAWN by the coordinator" if standing.withdrawn is not None else "",
        "replaced by another result" if standing.superseded else "to be replaced" if standing.successors else "",
        _count(objections, "objection"),
        f"{_count(doubted, 'objection')} that {'does' if doubted == 1 else 'do'} not count" if doubted else "",
        "a log that is not in order" if standing.faults else "",
        f"{_count(len(standing.unreadable), 'entry', 'entries')} that cannot be read" if standing.unreadable else "",
        f"{_count(len(standing.refused), 'file')} not counted" if standing.refused else "",
    )
    return f"Of the result since: {'; '.join(part for part in parts if part)}."


def disputed(standing: Standing | None) -> str:
    """Return a sentence about objections to a result, with a space before it, or "" where none are known."""
    if standing is None or not standing.objections:
        return ""
    objections, doubted = len(standing.counted), len(standing.objections) - len(standing.counted)
    but = f", and {doubted} that {'does' if doubted == 1 else 'do'} not count" if doubted else ""
    return f" {_count(objections, 'objection') or 'No objection'} to it{but}: see V63.standing."


def _count(number: int, one: str, many: str = "") -> str:
    return counted(number, one, many) if number else ""


def _withdrawal_words(standing: Standing) -> Iterator[str]:
    known = standing.withdrawn
    if known is None:
        return
    where = "" if known.logged or not standing.read else " (The log does not have this withdrawal.)"
    yield f"WITHDRAWN by the coordinator, as it says at {known.at}{_why(known)}{where}"
    if known.superseded_by and not any(item.session == known.superseded_by for item in standing.successors):
        yield f"Session {known.superseded_by} is to replace it."


def _further_words(known: Withdrawn, *, read: bool) -> str:
    where = " (The log does not have it.)" if read else ""
    return f"The coordinator signed another withdrawal, as it says at {known.at}{_why(known)}{where}"


def _why(known: Withdrawn) -> str:
    return f": {quoted(known.reason)}" if known.reason else f"; why stands in the statement {known.statement}."


def _successor_words(item: Successor) -> str:
    verb = "replaces" if item.state == "published" else "is to replace"
    state = {"published": "has a result", "aborted": "was aborted", "open": "is open", "overdue": "is overdue"}[
        item.state
    ]
    return f"Session {item.session} {verb} it; that session {state}{', which was withdrawn too' if item.withdrawn else ''}."


def _objection_words(item: Objected, *, read: bool) -> str:
    but = f"; NOT COUNTED: {item.doubt}" if item.doubt else ""
    if not item.text:
        where = f"as the log says at {item.logged}{but}"
        return f"{item.objector} objects, {where}; why stands in the statement {item.statement}."
    where = f"logged {item.logged}" if item.logged else "not in the log" if read else "signed"
    return f"{item.objector} objects ({item.reason}; {where}{but}): {quoted(item.text)}"


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
