"""What the commands about the audit log do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vdb_coordinator.audit_export import Export, audit_key, check_continues, encode_export, read_end, read_export
from vdb_coordinator.commands.terminal import Common, check_new, console, print_json, write_new
from vdb_coordinator.config import Home
from vdb_coordinator.files import read_file
from vdb_coordinator.store import attempts
from vdb_coordinator.store.attempts import Entry
from vdb_coordinator.store.database import read_database
from vdb_shared.errors import FormatError, SignatureError, StoreError, UsageError
from vdb_shared.transparency.note import NoteKey
from vdb_shared.wording import counted


def show(common: Common, last: int, *, as_json: bool) -> None:
    """Print the newest entries.

    Raises:
        StoreError: the log is damaged.
    """
    entries = _entries(Home(common.directory))
    shown = list(enumerate(entries, start=1))[-last:]
    if as_json:
        print_json([{"number": number, **_fields(entry)} for number, entry in shown])
        return
    for number, entry in shown:
        console().print(f"{number:>6}  {entry.at}  {entry.who}  {entry.action}: {entry.outcome}")


def export(common: Common, output: Path) -> None:
    """Write the entries up to the end that was signed last.

    Raises:
        UsageError: the file exists, or nothing was signed yet.
        StoreError: the log is damaged, or not the one that was signed.
    """
    home = Home(common.directory)
    check_new(output)
    key = _own_key(home)
    if not home.audit_end.is_file():
        raise UsageError(
            f"{home.path}: has no signed audit log yet; `vdb-coordinator --dir {home.path} serve` signs it"
        )
    note = read_file(home.audit_end)
    try:
        size = read_end(note, key).size
    except (FormatError, SignatureError) as error:
        raise StoreError(f"{home.audit_end}: is not the end of this audit log that we signed: {error}") from error
    entries = _entries(home)
    content = encode_export(entries[:size], note)
    try:
        read_export(content, key)
    except (FormatError, SignatureError) as error:
        raise StoreError(f"{home.path}: the audit log is not the one that was signed: {error}; run fsck") from error
    write_new(output, content, secret=True)
    newer = len(entries) - size
    console().print(
        f"wrote {output}: {counted(size, 'entry', 'entries')}"
        + (f"; {newer} newer ones are not signed yet" if newer else "")
    )
    console().print(f"whoever gets it checks it with: vdb-coordinator audit verify {output.name} --key KEY")


def verify(common: Common, file: Path, key: str, earlier: tuple[Path, ...], *, as_json: bool) -> None:
    """Check an export.

    Raises:
        UsageError: a file cannot be read, or `key` is none.
        FormatError, SignatureError: what is wrong with it.
    """
    known = _key(common, key)
    found = _export(file, known)
    for other in earlier:
        before = _export(other, known)
        try:
            check_continues(found, before)
        except FormatError as error:
            raise FormatError(f"{file} does not go on from {other}: {error}") from error
    if as_json:
        print_json({"entries": found.end.size, "end": found.end.digest.hex(), "earlier": len(earlier)})
        return
    screen = console()
    screen.print(f"PASS  {counted(found.end.size, 'entry', 'entries')}, unbroken; their end is signed by {known.name}")
    for other in earlier:
        screen.print(f"PASS  goes on from {other}")
    screen.print(f"end: {found.end.digest.hex()}")
    if not earlier:
        screen.print(
            "Not seen: a log that the coordinator's operator wrote anew and signed again. Keep this file, and give it with "
            "--earlier the next time."
        )


def _entries(home: Home) -> list[Entry]:
    return read_database(home.database(home.read_config()), attempts.load)


def _fields(entry: Entry) -> dict[str, Any]:
    return {"at": entry.at, "who": entry.who, "action": entry.action, "outcome": entry.outcome}


def _own_key(home: Home) -> NoteKey:
    home.read_config()
    if not home.log_key.is_file():
        raise UsageError(f"{home.path}: has no log yet; `vdb-coordinator --dir {home.path} serve` begins one")
    return audit_key(read_file(home.log_key).decode().strip())


def _export(file: Path, key: NoteKey) -> Export:
    data = read_file(file)
    try:
        return read_export(data, key)
    except (FormatError, SignatureError) as error:
        raise type(error)(f"{file}: {error}") from error


def _key(common: Common, key: str) -> NoteKey:
    if not key:
        return _own_key(Home(common.directory))
    try:
        return audit_key(key)
    except FormatError as error:
        raise UsageError(f"--key: {error}") from error
