"""The ledger on disk: debits are durable, capped and counted once, whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from testkit.charges import CAP, NONCE, NOW, OTHER_LIFE, charge, list_of
from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import BudgetError, StoreError
from vdb_shared.privacy.ledger import LedgerEntry, standing
from vdb_shared.privacy.record_list import RecordList

DATA = list_of("a", "b")
OTHER_DATA = list_of("y", "z")


def debit(ledger: Ledger, number: int, *, rho: str = "0.03", data: RecordList = DATA, nonce: str = NONCE) -> str:
    return ledger.debit(data, charge(number, data, rho, nonce), CAP, "overlapping", NOW).digest


def refund(ledger: Ledger, number: int, nonce: str = NONCE) -> LedgerEntry | None:
    return ledger.refund(charge(number, DATA).session, bytes.fromhex(nonce), NOW)


def spent(ledger: Ledger, data: RecordList = DATA) -> Decimal:
    return ledger.standing(data, "overlapping").spent


def test_remembers_debits_and_refunds(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        debit(ledger, 1)
        debit(ledger, 2)
        assert refund(ledger, 2) is not None
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (holding,) = ledger.holdings("overlapping")
        chain = ledger.verify()
    assert (holding.standing.spent, holding.standing.sessions) == (Decimal("0.03"), 1)
    assert holding.folders == ("/data",)
    assert holding.records == 2
    assert holding.entries == chain
    assert [entry.kind for entry in chain] == ["debit", "debit", "refund"]


def test_cap_is_kept_for_each_data_set(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for number in range(3):
            debit(ledger, number)
        with pytest.raises(BudgetError, match=r"of the cap 0\.1 only 0\.01 is left"):
            debit(ledger, 3)
        debit(ledger, 3, data=OTHER_DATA)
        assert spent(ledger) == Decimal("0.09")
        assert spent(ledger, OTHER_DATA) == Decimal("0.03")


def test_the_same_session_is_debited_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = debit(ledger, 1)
        assert debit(ledger, 1) == first
        assert len(ledger.chain()) == 1


def test_a_session_whose_journal_was_lost_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        debit(ledger, 1)
        with pytest.raises(BudgetError, match="cannot run twice"):
            debit(ledger, 1, nonce=OTHER_LIFE)
        with pytest.raises(BudgetError, match="cannot run twice"):
            debit(ledger, 1, nonce=OTHER_LIFE)  # not the second time either
        assert refund(ledger, 1, OTHER_LIFE) is None, "the first life's input may have left"
        assert spent(ledger) == Decimal("0.03")


def test_published_digests_cannot_be_guessed(tmp_path: Path) -> None:
    """Two sites with the same account and sessions publish different digests: a nonce is in them."""
    with Ledger(tmp_path / "a.sqlite") as one, Ledger(tmp_path / "b.sqlite") as other:
        assert debit(one, 1) != debit(other, 1, nonce=OTHER_LIFE)


def test_a_refunded_session_cannot_come_back(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        debit(ledger, 1)
        refund(ledger, 1)
        with pytest.raises(BudgetError, match="given up"):
            debit(ledger, 1)
        assert refund(ledger, 1) is None
        assert refund(ledger, 9) is None


def test_another_charge_for_the_same_session_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        debit(ledger, 1)
        with pytest.raises(BudgetError, match=r"not 0.02"):
            debit(ledger, 1, rho="0.02")
        with pytest.raises(BudgetError, match="leave the session"):
            debit(ledger, 1, data=OTHER_DATA)


def test_a_charge_is_for_its_own_list(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger, pytest.raises(ValueError, match="list of records"):
        ledger.debit(DATA, charge(1, OTHER_DATA), CAP, "overlapping", NOW)


def test_entries_cannot_be_changed_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        debit(ledger, 1)
    with sqlite3.connect(path) as database:
        for table, column in (("entries", "body"), ("records", "words"), ("lists", "digest"), ("members", "record")):
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):  # noqa: S608 - ours
                with pytest.raises(sqlite3.IntegrityError, match="only grows"):
                    database.execute(statement)


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM entries WHERE sequence = 0",
        "UPDATE entries SET body = replace(CAST(body AS TEXT), '0.03', '0.01') WHERE sequence = 0",
        "UPDATE entries SET body = x'7b7d' WHERE sequence = 1",
    ],
)
def test_forgery_by_force_is_seen(tmp_path: Path, forgery: str) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        debit(ledger, 1)
        debit(ledger, 2)
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER entries_never_change")
        database.execute("DROP TRIGGER entries_never_vanish")
        database.execute(forgery.replace("replace(CAST", "CAST(replace(CAST").replace("'0.01')", "'0.01') AS BLOB)"))
    with Ledger(path) as ledger, pytest.raises(StoreError):
        ledger.chain()
    with Ledger(path) as ledger, pytest.raises(StoreError):
        debit(ledger, 3)


@pytest.mark.parametrize(
    "forgery",
    [
        "DELETE FROM members WHERE record = 1",
        "DELETE FROM lists",
        "INSERT INTO lists (digest) VALUES ('sha256:none')",
        "UPDATE records SET words = zeroblob(32) WHERE number = 1",
        "UPDATE lists SET digest = 'sha256:' || substr(digest, 9) || '0'",
        "INSERT INTO members SELECT 1, max(number) FROM records WHERE number > 2",
    ],
)
def test_forged_lists_are_seen_and_never_taken_for_disjoint(tmp_path: Path, forgery: str) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        debit(ledger, 1)
        debit(ledger, 2, data=OTHER_DATA)
        ledger.verify()
    with sqlite3.connect(path) as database:
        for table in ("records", "lists", "members"):
            database.execute(f"DROP TRIGGER {table}_never_change")
            database.execute(f"DROP TRIGGER {table}_never_vanish")
        database.execute(forgery)
    with Ledger(path) as ledger, pytest.raises(StoreError):
        ledger.verify()
    if "INSERT INTO lists" not in forgery:  # a list that no entry names charges nobody
        with Ledger(path) as ledger, pytest.raises(StoreError, match="list of records"):
            debit(ledger, 3, data=list_of("q"))


def test_a_ledger_of_an_earlier_version_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE entries (dataset TEXT, sequence INTEGER, session TEXT, body BLOB)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another version"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(
        StoreError, match=r"ledger.sqlite: the privacy ledger is damaged \(file is not a database\); restore"
    ):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_damaged_ledger_is_to_be_restored_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        debit(ledger, 1)
    data = bytearray(path.read_bytes())
    data[4096:12288] = b"\xff" * 8192
    path.write_bytes(data)
    with pytest.raises(StoreError) as told, Ledger(path) as ledger:
        ledger.chain()
    assert str(told.value) == (
        f"{path}: the privacy ledger is damaged (database disk image is malformed); restore the newest copy, and look whether "
        "it has the debits of all your results with `vdb-participant budget verify --receipt RESULT`: a copy that lacks some "
        "would let this site spend more than its cap"
    )
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="the privacy ledger cannot be used: unable to open database file"):
        Ledger(path)


def killed_after(steps: int, path: Path) -> tuple[str, bool]:
    """Debit in a process that kills itself before the SQL statement with this number.

    Returns:
        What it could still print, and whether it came to its end.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        left = steps

        def observe(_statement: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        with Ledger(path, observe=observe) as ledger:
            os.write(writer, debit_again(ledger).encode())
            observe("after the debit was returned")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as printed:
        digest = printed.read()
    _, status = os.waitpid(child, 0)
    return digest, os.waitstatus_to_exitcode(status) == 0


def test_kill_9_before_any_statement_leaves_one_debit_or_none(tmp_path: Path) -> None:
    outcomes = set()
    for steps in range(200):
        path = tmp_path / f"{steps}.sqlite"
        printed, finished = killed_after(steps, path)
        with Ledger(path) as ledger:
            before = len(ledger.verify())
            assert before == 1 if printed else before in (0, 1)
            digest = debit_again(ledger)
            assert len(ledger.verify()) == 1
            assert ledger.holdings("overlapping")[0].records == len(DATA), "entry and list are there together"
        assert printed in ("", digest)
        outcomes.add((bool(printed), before))
        if finished:
            break
    assert outcomes >= {(False, 0), (True, 1)}, "the kills never reached the debit"


def debit_again(ledger: Ledger) -> str:
    return debit(ledger, 1)


RACE = """
import sys
from decimal import Decimal
from pathlib import Path
from testkit.charges import charge, list_of
from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import BudgetError
done = 0
data = list_of("common", sys.argv[2])
for number in range(20):
    with Ledger(Path(sys.argv[1])) as ledger:
        try:
            ledger.debit(data, charge(number + 100 * ord(sys.argv[2]), data), Decimal("0.3"), "overlapping", "now")
            done += 1
        except BudgetError:
            pass
print(done)
"""


def test_two_agents_debiting_at_once_keep_the_cap(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", RACE, path, digit], stdout=subprocess.PIPE, text=True, env=environment)
        for digit in "ab"
    ]
    done = sum(int(run.communicate()[0]) for run in runs)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        chain = ledger.verify()
    assert done == len(chain) == 10
    assert standing(chain).spent == Decimal("0.30")
    assert len({entry.charge.dataset for entry in chain}) <= 2


def test_the_cap_is_looked_at_under_the_write_lock(tmp_path: Path) -> None:
    seen: list[str] = []
    with Ledger(tmp_path / "ledger.sqlite", observe=seen.append) as ledger:
        seen.clear()
        debit(ledger, 1)
    assert seen[0] == "BEGIN IMMEDIATE"
    assert seen[-1] == "COMMIT"
    assert sum("COMMIT" in statement or "BEGIN I" in statement for statement in seen) == 2
    (looked,) = (place for place, statement in enumerate(seen) if "FROM entries" in statement)
    (listed,) = (place for place, statement in enumerate(seen) if statement.startswith("INSERT INTO lists"))
    (debited,) = (place for place, statement in enumerate(seen) if statement.startswith("INSERT INTO entries"))
    assert looked < listed < debited
