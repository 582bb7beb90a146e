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

from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import BudgetError, StoreError
from vdb_shared.privacy.ledger import Charge, LedgerEntry

CAP = Decimal("0.1")
DATASET = "sha256:" + "d" * 64


NONCE = "a" * 64
"""Of the first life of every journal."""

OTHER_LIFE = "b" * 64


def charge(number: int, rho: str = "0.03", nonce: str = NONCE) -> Charge:
    return Charge(f"sha256:{number:064x}", "sha256:" + "5" * 64, Decimal(rho), Decimal("1234.5"), 4, 1, nonce)


def debit(ledger: Ledger, number: int, *, rho: str = "0.03", dataset: str = DATASET, nonce: str = NONCE) -> str:
    return ledger.debit(dataset, "/data", charge(number, rho, nonce), CAP).digest


def refund(ledger: Ledger, number: int, nonce: str = NONCE) -> LedgerEntry | None:
    return ledger.refund(DATASET, charge(number).session, bytes.fromhex(nonce))


def test_remembers_debits_and_refunds(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        debit(ledger, 1)
        debit(ledger, 2)
        assert refund(ledger, 2) is not None
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (account,) = ledger.accounts()
    assert account.spent == Decimal("0.03")
    assert account.folder == "/data"
    assert [entry.kind for entry in account.chain] == ["debit", "debit", "refund"]


def test_cap_is_kept_for_each_data_set(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        for number in range(3):
            debit(ledger, number)
        with pytest.raises(BudgetError, match=r"of the cap 0\.1 only 0\.01 is left"):
            debit(ledger, 3)
        debit(ledger, 3, dataset="sha256:" + "e" * 64)
        assert ledger.account(DATASET).spent == Decimal("0.09")


def test_the_same_session_is_debited_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = debit(ledger, 1)
        assert debit(ledger, 1) == first
        assert len(ledger.account(DATASET).chain) == 1


def test_a_session_whose_journal_was_lost_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        debit(ledger, 1)
        with pytest.raises(BudgetError, match="cannot run twice"):
            debit(ledger, 1, nonce=OTHER_LIFE)
        with pytest.raises(BudgetError, match="cannot run twice"):
            debit(ledger, 1, nonce=OTHER_LIFE)  # not the second time either
        assert refund(ledger, 1, OTHER_LIFE) is None, "the first life's input may have left"
        assert ledger.account(DATASET).spent == Decimal("0.03")


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


def test_entries_cannot_be_changed_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        debit(ledger, 1)
    with sqlite3.connect(path) as database:
        for statement in ("DELETE FROM entries", "UPDATE entries SET body = x'00'"):
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
        ledger.accounts()
    with Ledger(path) as ledger, pytest.raises(StoreError):
        debit(ledger, 3)


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"ledger.sqlite: the privacy ledger cannot be used"):
        Ledger(tmp_path / "ledger.sqlite")


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
    for steps in range(60):
        path = tmp_path / f"{steps}.sqlite"
        printed, finished = killed_after(steps, path)
        with Ledger(path) as ledger:
            before = len(ledger.account(DATASET).chain)
            assert before == 1 if printed else before in (0, 1)
            digest = debit_again(ledger)
            assert len(ledger.account(DATASET).chain) == 1
        assert printed in ("", digest)
        outcomes.add((bool(printed), before))
        if finished:
            break
    assert outcomes >= {(False, 0), (True, 1)}, "the kills never reached the debit"


def debit_again(ledger: Ledger) -> str:
    one = Charge("sha256:" + "1" * 64, "sha256:" + "5" * 64, Decimal("0.03"), Decimal("1"), 4, 1, NONCE)
    return ledger.debit(DATASET, "/data", one, CAP).digest


RACE = """
import sys
from decimal import Decimal
from pathlib import Path
from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import BudgetError
from vdb_shared.privacy.ledger import Charge
done = 0
for number in range(20):
    with Ledger(Path(sys.argv[1])) as ledger:
        session, spec = f"sha256:{sys.argv[2]}{number:063x}", "sha256:" + "5" * 64
        charge = Charge(session, spec, Decimal("0.03"), Decimal("1"), 4, 1, "a" * 64)
        try:
            ledger.debit("sha256:" + "d" * 64, "/data", charge, Decimal("0.3"))
            done += 1
        except BudgetError:
            pass
print(done)
"""


def test_two_agents_debiting_at_once_keep_the_cap(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite")
    runs = [
        subprocess.Popen([sys.executable, "-c", RACE, path, digit], stdout=subprocess.PIPE, text=True) for digit in "ab"
    ]
    done = sum(int(run.communicate()[0]) for run in runs)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        account = ledger.account(DATASET)
    assert done == len(account.chain) == 10
    assert account.spent == Decimal("0.30")


def test_the_cap_is_looked_at_under_the_write_lock(tmp_path: Path) -> None:
    seen: list[str] = []
    with Ledger(tmp_path / "ledger.sqlite", observe=seen.append) as ledger:
        seen.clear()
        debit(ledger, 1)
    assert seen[0] == "BEGIN IMMEDIATE"
    assert seen[-1] == "COMMIT"
    assert sum(statement.startswith("SELECT body") for statement in seen) == 1
