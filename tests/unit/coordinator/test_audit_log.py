"""The audit log is one chain: whatever is changed, moved, taken out, added or cut off in an export is seen."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, delete, select, text, update

from vdb_coordinator.audit_export import (
    ORIGIN_SUFFIX,
    audit_key,
    check_continues,
    encode_export,
    read_export,
    sign_end,
)
from vdb_coordinator.serving.auditing import SUM_PERIOD, Auditing, check_signed_end
from vdb_coordinator.store import attempts, eventlog, schema
from vdb_coordinator.store.attempts import End, Entry
from vdb_coordinator.store.database import Database
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import FormatError, SignatureError, StoreError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.note import ED25519, NoteKey

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
SIGNER = StatementKey.generate()
KEY = audit_key(str(NoteKey("testbed/vdb-log", ED25519, SIGNER.public_key.raw)))
ENTRIES = [
    Entry(f"2026-02-01T12:00:0{n}+00:00", f"spiffe://testbed/admin/{n}", "invite", f"site-{n}") for n in range(5)
]


class TurnedClock:
    """A clock that a test turns; implements Clock."""

    moment = NOW
    off = timedelta()

    def now(self) -> datetime:
        return self.moment + self.off

    def monotonic(self) -> float:
        return self.moment.timestamp()


def exported(entries: list[Entry], signer: StatementKey = SIGNER, signed: list[Entry] | None = None) -> bytes:
    end = attempts.end_of(entries if signed is None else signed)
    return encode_export(entries, sign_end("testbed", end, signer))


def lines_of(data: bytes) -> list[bytes]:
    return data[:-1].split(b"\n")


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_an_export_is_read_back() -> None:
    found = read_export(exported(ENTRIES), KEY)
    assert list(found.entries) == ENTRIES
    assert found.end == attempts.end_of(ENTRIES)
    assert KEY.name == "testbed" + ORIGIN_SUFFIX


@pytest.mark.parametrize("field", ["at", "who", "action", "outcome", "number", "digest"])
@pytest.mark.parametrize("number", range(5))
def test_no_field_of_any_entry_can_be_changed(number: int, field: str) -> None:
    lines = lines_of(exported(ENTRIES))
    value = json.loads(lines[number])
    value[field] = value[field] + 1 if field == "number" else value[field][:-1] + "x"
    lines[number] = canonical_json(value)
    with pytest.raises(FormatError, match=f"entry {number + 1} is not the one that was written"):
        read_export(joined(lines), KEY)


def test_no_entry_can_be_taken_out_moved_doubled_or_added() -> None:
    lines = lines_of(exported(ENTRIES))
    changed = [
        *([*lines[:n], *lines[n + 1 :]] for n in range(5)),
        [lines[1], lines[0], *lines[2:]],
        [lines[0], *lines],
        lines_of(exported([*ENTRIES, ENTRIES[0]], signed=ENTRIES)),
    ]
    for some in changed:
        with pytest.raises(FormatError):
            read_export(joined(some), KEY)


def test_fields_cannot_flow_into_each_other() -> None:
    """Lengths are hashed too: the same letters in other fields are another entry."""
    one, other = Entry("t", "ab", "c", "d"), Entry("t", "a", "bc", "d")
    assert End().after(one) != End().after(other)


def test_whoever_rewrites_the_chain_cannot_sign_it() -> None:
    """A chain alone is only arithmetic: without the signature a rewritten log would pass."""
    rewritten = [*ENTRIES[:2], Entry(ENTRIES[2].at, ENTRIES[2].who, "invite", "nobody"), *ENTRIES[3:]]
    assert read_export(exported(rewritten), KEY), "with the key it passes: only earlier exports can tell"
    with pytest.raises(SignatureError, match="not signed by testbed/vdb-audit"):
        read_export(exported(rewritten, StatementKey.generate()), KEY)
    with pytest.raises(FormatError, match="the coordinator signed 5"):
        read_export(exported(rewritten, signed=ENTRIES), KEY)
    with pytest.raises(FormatError, match="entry 3 differs"):
        check_continues(read_export(exported(rewritten), KEY), read_export(exported(ENTRIES), KEY))


def test_a_log_that_was_cut_and_signed_again_is_seen_by_who_has_an_earlier_export() -> None:
    whole, cut = read_export(exported(ENTRIES), KEY), read_export(exported(ENTRIES[:3]), KEY)
    check_continues(whole, cut)
    with pytest.raises(FormatError, match="entries were cut off"):
        check_continues(cut, whole)


def test_a_checkpoint_of_the_transparency_log_signs_no_audit_log() -> None:
    """Both are signed with one key, and their names differ."""
    log = sign_end("testbed", attempts.end_of(ENTRIES), SIGNER).replace(b"/vdb-audit", b"/vdb-log")
    with pytest.raises(SignatureError):
        read_export(encode_export(ENTRIES, log), KEY)


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"nonsense\n", b'{"version":"vdb-audit/1"}\n', b"[]\n[]\n"])
def test_nonsense_is_no_export(data: bytes) -> None:
    with pytest.raises((FormatError, SignatureError)):
        read_export(data, KEY)
    with pytest.raises(FormatError, match="cut short"):
        read_export(exported(ENTRIES)[:-1], KEY)


# In the database.


def filled(path: Path) -> Database:
    database = Database(path)
    asyncio.run(database.open())

    def fill(connection: Connection) -> None:
        for number in range(5):
            attempts.record(connection, NOW, "lead", "invite", f"site-{number}")

    database.run_now(fill)
    return database


@pytest.mark.parametrize(
    "change",
    [
        update(schema.attempts).where(schema.attempts.c.id == 3).values(outcome="nobody"),
        update(schema.attempts).where(schema.attempts.c.id == 3).values(digest=bytes(32)),
        delete(schema.attempts).where(schema.attempts.c.id == 3),
        delete(schema.attempts).where(schema.attempts.c.id == 1),
        update(schema.attempts).where(schema.attempts.c.id == 5).values(id=9),
        delete(schema.attempts).where(schema.attempts.c.id >= 4),
    ],
    ids=["changed", "digest", "taken out", "first", "renumbered", "cut"],
)
def test_a_coordinator_does_not_serve_on_a_log_that_was_changed(tmp_path: Path, change: object) -> None:
    database, place = filled(tmp_path / "db.sqlite"), tmp_path / "audit-end"
    auditing = Auditing(database, place, "testbed", SIGNER, TurnedClock(), dict)
    asyncio.run(auditing.start("first"))
    assert database.run_now(attempts.end).size == 6
    database.run_now(lambda connection: check_signed_end(connection, place, KEY))
    database.run_now(lambda connection: connection.execute(change))  # type: ignore[call-overload]  # any statement
    with pytest.raises(StoreError, match="audit log"):
        asyncio.run(Auditing(database, place, "testbed", SIGNER, TurnedClock(), dict).start("again"))
    database.close()


@pytest.mark.parametrize("later", [0, 1, 3])
def test_the_end_of_a_log_that_was_cut_while_we_serve_is_not_signed(tmp_path: Path, later: int) -> None:
    """The attack: what was signed vanishes under the process, which signs the end of whatever is there then."""
    database, place = filled(tmp_path / "db.sqlite"), tmp_path / "audit-end"
    auditing = Auditing(database, place, "testbed", SIGNER, TurnedClock(), dict)
    asyncio.run(auditing.start("x"))
    signed = place.read_bytes()

    def cut(connection: Connection) -> None:
        connection.execute(delete(schema.attempts).where(schema.attempts.c.id == 6))
        for number in range(later):
            attempts.record(connection, NOW, "lead", "invite", f"other-{number}")

    database.run_now(cut)
    with pytest.raises(FallenBackError, match="entry 6 of the audit log"):
        asyncio.run(auditing.keep_up())
    assert place.read_bytes() == signed
    database.close()


def test_a_signed_end_that_is_behind_is_no_damage(tmp_path: Path) -> None:
    """The coordinator was killed after an entry was stored and before the end was signed."""
    database, place = filled(tmp_path / "db.sqlite"), tmp_path / "audit-end"
    asyncio.run(Auditing(database, place, "testbed", SIGNER, TurnedClock(), dict).start("first"))
    database.run_now(lambda connection: attempts.record(connection, NOW, "lead", "invite", "late"))
    asyncio.run(Auditing(database, place, "testbed", SIGNER, TurnedClock(), dict).start("again"))
    place.write_bytes(b"damaged")
    with pytest.raises(StoreError, match="is not the end of this audit log that we signed"):
        asyncio.run(Auditing(database, place, "testbed", SIGNER, TurnedClock(), dict).start("again"))
    database.close()


def test_refused_calls_are_told_in_sums(tmp_path: Path) -> None:
    """However many there are: one entry an hour, and none where nothing was refused."""
    database, clock, tally = filled(tmp_path / "db.sqlite"), TurnedClock(), {"VDB_TOO_MUCH": 70_000, "VDB_INVALID": 2}

    def taken() -> dict[str, int]:
        found = dict(tally)
        tally.clear()
        return found

    auditing = Auditing(database, tmp_path / "audit-end", "testbed", SIGNER, clock, taken)
    asyncio.run(auditing.start("x"))
    for _ in range(3):
        clock.moment += SUM_PERIOD - timedelta(seconds=1)
        asyncio.run(auditing.keep_up())
    tally["VDB_INVALID"] = 1
    asyncio.run(auditing.keep_up(stopping=True))
    entries = [entry for entry in database.run_now(attempts.load) if entry.action in ("refused calls", "stop")]
    assert [entry.outcome for entry in entries] == [
        "since 2026-02-01T12:00:00+00:00: VDB_INVALID 2, VDB_TOO_MUCH 70000",
        f"since {(NOW + 2 * SUM_PERIOD - timedelta(seconds=2)).isoformat()}: VDB_INVALID 1",
        "in good order",
    ]
    database.close()


def test_a_clock_that_is_set_back_delays_no_sum(tmp_path: Path) -> None:
    database, clock = filled(tmp_path / "db.sqlite"), TurnedClock()
    auditing = Auditing(database, tmp_path / "audit-end", "testbed", SIGNER, clock, lambda: {"VDB_INVALID": 1})
    asyncio.run(auditing.start("x"))
    clock.off = timedelta(hours=-5)
    for hours in range(1, 4):
        clock.moment = NOW + hours * SUM_PERIOD
        asyncio.run(auditing.keep_up())
        found = [entry for entry in database.run_now(attempts.load) if entry.action == "refused calls"]
        assert len(found) == hours
    database.close()


def test_entries_of_before_are_chained_as_they_stand(target: Path | str) -> None:
    """Also where their numbers have gaps, which rolled-back transactions of PostgreSQL leave."""
    older, config = Database(target), Config()
    config.set_main_option("script_location", str(Path(eventlog.__file__).parent / "migrations"))

    def fill(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        insert = text("INSERT INTO attempts (id, at, who, action, outcome) VALUES (:id, :at, 'ä', 'b', 'c')")
        for number in (2, 3, 7):
            connection.execute(insert, {"id": number, "at": f"t{number}"})

    older.run_now(fill)
    older.close()
    database = Database(target)
    asyncio.run(database.open())
    found = database.run_now(attempts.load)
    assert found == [Entry(f"t{number}", "ä", "b", "c") for number in (2, 3, 7)]
    database.run_now(lambda connection: attempts.record(connection, NOW, "who", "did", "more"))
    numbers = database.run_now(lambda connection: connection.scalars(select(schema.attempts.c.id)).all())
    assert sorted(numbers) == [1, 2, 3, 4]
    assert database.run_now(attempts.end) == attempts.end_of(database.run_now(attempts.load))
    database.close()
