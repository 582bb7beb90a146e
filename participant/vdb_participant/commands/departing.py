"""`journal` as the operator sees it: what left, whether the record of it is whole, and whether a result fits it.

Promises to make no file but the export, which never takes the place of another.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from vdb_participant.commands.screen import console
from vdb_participant.session.departures import Comparison, compare
from vdb_participant.site.config import StateFolder, check_folder, read_config
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Entry, Reading, encode_line
from vdb_participant.site.storage import PRIVATE_FILE
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES
from vdb_shared.canonical import canonical_json, check_digest, parse_canonical_json
from vdb_shared.errors import FormatError, StoreError, UsageError
from vdb_shared.wording import counted

_NOT_COUNTED: Final = (
    "Not counted: what TLS and HTTP/2 add around these messages, names that are looked up, and whatever models outside the "
    "program (commands, a Ray cluster) and `models fetch` send."
)
_COUNTED: Final = ("message", "request")
_BLIND: Final = (
    "Not seen: entries that were cut off the end. Give a published result of this site, or the head that you noted elsewhere "
    "with --head."
)


def show(folder: StateFolder, session: str, *, as_json: bool) -> None:
    """Print what left.

    Raises:
        UsageError: a session was named and nothing is of it.
        StoreError: the journal was changed or cannot be read.
    """
    reading = EgressJournal(folder.egress).read()
    wanted = session.removeprefix("sha256:")
    entries = [entry for entry in reading.entries if not wanted or _names(entry, wanted)]
    if wanted and not entries:
        raise UsageError(f"--session {session}: nothing that left names such a session; `status` lists this site's")
    if as_json:
        value = {"entries": [parse_canonical_json(encode_line(entry)[:-1]) for entry in entries], "head": reading.head}
        sys.stdout.write(canonical_json(value).decode() + "\n")
        return
    out = console()
    for entry in entries:
        left = entry.departure
        what = left.what.removeprefix("/vdb.v1.") if left.kind in _COUNTED else f"{left.kind}: {left.what}"
        digest = left.digest[7:19] or "-"
        out.print(f"{entry.moment}  {left.address}  {left.size:>9} bytes  {digest:<12}  {what}{_told(entry)}")
    messages = [entry.departure.size for entry in entries if entry.departure.kind in _COUNTED]
    out.print(f"{counted(len(messages), 'message')}, {sum(messages)} bytes; head {reading.head}")
    out.print(_NOT_COUNTED)


def verify(folder: StateFolder, bundle: Path | None, head: str, *, as_json: bool) -> bool:
    """Check the chain, and hold a bundle against it; return whether all fits.

    Raises:
        UsageError: there is no such state folder, the bundle cannot be read, this site is not in it, or `head` is no digest.
        StoreError: the journal was changed, or lacks the entry that was noted.
    """
    check_folder(folder)
    reading = EgressJournal(folder.egress).read()
    if head:
        _check_head(reading, head)
    found = None if bundle is None else _compared(folder, reading, bundle)
    if as_json:
        value = {"entries": len(reading.entries), "head": reading.head, "bundle": found and _facts(found)}
        sys.stdout.write(canonical_json(value).decode() + "\n")
    else:
        out = console()
        out.print(f"PASS  chain: {counted(len(reading.entries), 'entry', 'entries')}, unbroken; head {reading.head}")
        if found is not None:
            _tell(found)
        elif not head:
            out.print(_BLIND)
    return found is None or all(claim.entries for claim in found.claims)


def export(folder: StateFolder, output: Path) -> None:
    """Write the journal's whole lines to a new file.

    Raises:
        UsageError: the file is there already, or cannot be written.
        StoreError: the journal was changed or cannot be read.
    """
    reading = EgressJournal(folder.egress).read()
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with open(descriptor, "wb") as stream:
            stream.write(b"".join(map(encode_line, reading.entries)))
    except FileExistsError as error:
        raise UsageError(f"{output}: exists already; name another file or remove it") from error
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror})") from error
    console().print(f"{output}: {counted(len(reading.entries), 'entry', 'entries')}; head {reading.head}")


def _compared(folder: StateFolder, reading: Reading, bundle: Path) -> Comparison:
    try:
        with bundle.open("rb") as stream:
            data = stream.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{bundle}: expected a result bundle, cannot read it ({error.strerror})") from error
    try:
        return compare(reading.entries, data, read_config(folder).institution)
    except FormatError as error:
        raise UsageError(f"{bundle}: expected a result bundle, found something else ({error})") from error


def _check_head(reading: Reading, head: str) -> None:
    try:
        check_digest(head)
    except FormatError as error:
        raise UsageError(f"--head: expected sha256: and 64 hex digits, found {head!r}") from error
    if all(entry.digest != head for entry in reading.entries):
        raise StoreError(f"no entry of the egress journal has the digest {head}; entries are missing or were changed")


def _tell(found: Comparison) -> None:
    out = console()
    out.print(f"What the result of session {found.session[:19]} has from this site:")
    for claim in found.claims:
        out.print(f"{'PASS' if claim.entries else 'FAIL'}  {claim.name}: {claim.words}")
    if not any(claim.entries for claim in found.claims):
        out.print(
            "Nothing of that session is in this journal: was it run from another --dir, or before there was a journal?"
        )
    out.print("What left in that session and is not in it:")
    for rest in found.rest:
        out.print(f"  {rest.kind} {rest.count}x, {rest.size} bytes: {rest.reason}")
    name = "names another session" if found.elsewhere == 1 else "name other sessions"
    out.print(f"{counted(found.elsewhere, 'message')} {name}, or none.")
    if found.requests:
        out.print(f"{counted(found.requests, 'request')} went to endpoints of external models: see `journal show`.")
    out.print(_NOT_COUNTED)
    out.print("Whether the result itself is true is what `vdb-audit verify` says.")


def _facts(found: Comparison) -> dict[str, Any]:
    return {
        "session": found.session,
        "claims": [{"name": item.name, "entries": item.entries, "words": item.words} for item in found.claims],
        "rest": [
            {"kind": item.kind, "count": item.count, "size": item.size, "reason": item.reason} for item in found.rest
        ],
        "elsewhere": found.elsewhere,
        "requests": found.requests,
    }


def _names(entry: Entry, wanted: str) -> bool:
    named = entry.session.removeprefix("sha256:")
    return bool(named) and (named.startswith(wanted) or wanted.startswith(named))


def _told(entry: Entry) -> str:
    """Return the texts and numbers of a message, but its session."""
    fields = entry.departure.fields
    told = ", ".join(f"{path} {fields[path]}" for path in fields if path.rpartition(".")[2] != "session")
    return f"  ({told})" if told else ""
