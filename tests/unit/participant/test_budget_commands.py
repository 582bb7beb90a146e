"""`budget`, `budget verify` and `budget export` as an operator and a data protection officer see them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from testkit.bundles import sample_bundle
from testkit.charges import CAP, NOW, charge, list_of
from vdb_participant.commands import budgeting
from vdb_participant.site.config import StateFolder
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_shared.errors import BudgetError, StoreError, UsageError
from vdb_shared.privacy.conversion import epsilon_of_rho

SECRET = list_of("a private prompt", "its words/its file")
OVERLAPPING = list_of("a private prompt", "another")
APART = list_of("/alone")


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A site with four sessions over three data sets, one of them refunded."""
    state = StateFolder(tmp_path / "site")
    with Ledger(state.ledger) as ledger:
        for number, (data, rho, place) in enumerate(
            ((SECRET, "0.03", "/a"), (OVERLAPPING, "0.02", "/b"), (APART, "0.01", "/c"), (SECRET, "0.04", "/moved"))
        ):
            ledger.debit(data, charge(number, data, rho, folder=place), CAP, "overlapping", NOW)
        assert ledger.refund(charge(1, OVERLAPPING).session, bytes.fromhex("a" * 64), NOW)
    return state


def said(capsys: pytest.CaptureFixture[str], command: Callable[[], None]) -> str:
    command()
    return capsys.readouterr().out


def test_the_table_says_what_each_data_set_has_spent_and_has_left(
    folder: StateFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, lambda: budgeting.show(folder, as_json=False))
    delta = parse_policy(DEFAULT_POLICY).delta
    (line,) = (line for line in text.splitlines() if line.startswith(SECRET.dataset[7:19]) and "/a" in line)
    assert line.split()[1:4] == ["2", "2", "0.07"]
    assert Decimal(line.split()[4]) == epsilon_of_rho(Decimal("0.07"), delta)
    assert line.endswith("/a, /moved")
    found = json.loads(said(capsys, lambda: budgeting.show(folder, as_json=True)))
    assert [item["spent"] for item in found["datasets"]] == ["0.07", "0.07", "0.01"], (
        "overlapping data charge each other"
    )
    assert [item["sessions"] for item in found["datasets"]] == [2, 2, 1]


def test_so_many_more_sessions_fit_as_the_table_says(folder: StateFolder) -> None:
    with Ledger(folder.ledger) as ledger:
        cap = parse_policy(DEFAULT_POLICY).rho_cap
        ledger.debit(APART, charge(7, APART, "0.25"), cap, "overlapping", NOW)
        ledger.debit(APART, charge(8, APART, "0.35"), cap, "overlapping", NOW)
        assert ledger.refund(charge(8, APART).session, bytes.fromhex("a" * 64), NOW)
        found = next(item for item in budgeting.overview(folder).holdings if item.dataset == APART.dataset)
        number = budgeting.fitting(budgeting.overview(folder), found)
        assert number
        for more in range(number):
            ledger.debit(APART, charge(20 + more, APART, "0.25"), cap, "overlapping", NOW)
        with pytest.raises(BudgetError):
            ledger.debit(APART, charge(99, APART, "0.25"), cap, "overlapping", NOW)
        assert ledger.refund(charge(20, APART).session, bytes.fromhex("a" * 64), NOW)


def test_under_the_policy_site_all_have_spent_the_same(folder: StateFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.policy.write_text(DEFAULT_POLICY.replace('charge = "overlapping"', 'charge = "site"'))
    found = json.loads(said(capsys, lambda: budgeting.show(folder, as_json=True)))
    assert {item["spent"] for item in found["datasets"]} == {"0.08"}
    assert found["charge"] == "site"


def test_the_export_has_all_but_the_digests_of_records(folder: StateFolder, tmp_path: Path) -> None:
    budgeting.export(folder, "json", tmp_path / "all.json")
    text = (tmp_path / "all.json").read_text()
    found = json.loads(text)
    with Ledger(folder.ledger) as ledger:
        chain = ledger.chain()
    assert found["format"] == "vdb-ledger-export/1"
    assert found["head"] == chain[-1].digest
    assert found["policy"]["charge"] == "overlapping"
    assert found["entries"] == [entry.to_json() | {"digest": entry.digest} for entry in chain]
    assert [item["dataset"] for item in found["data_sets"]] == [SECRET.dataset, OVERLAPPING.dataset, APART.dataset]
    assert found["data_sets"][0]["folders"] == ["/a", "/moved"]
    assert not any(part.hex() in text for data in (SECRET, OVERLAPPING, APART) for part in data.parts)
    assert (tmp_path / "all.json").stat().st_mode & 0o777 == 0o600


def test_the_table_for_spreadsheets_has_a_line_for_each_entry(
    folder: StateFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = list(csv.DictReader(io.StringIO(said(capsys, lambda: budgeting.export(folder, "csv", None)))))
    with Ledger(folder.ledger) as ledger:
        entries = [entry.to_json() | {"digest": entry.digest} for entry in ledger.chain()]
    assert lines == [{name: str(value) for name, value in sorted(entry.items())} for entry in entries]


def test_an_export_takes_no_file_s_place(folder: StateFolder, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("precious")
    with pytest.raises(UsageError, match=r"kept: is there already"):
        budgeting.export(folder, "json", tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"link: is there already"):
        budgeting.export(folder, "json", tmp_path / "link")
    with pytest.raises(UsageError, match=r"cannot be written"):
        budgeting.export(folder, "csv", tmp_path / "no-folder" / "x")
    assert (tmp_path / "kept").read_text() == "precious"


COMMANDS: dict[str, Callable[[StateFolder], None]] = {
    "budget": lambda state: budgeting.show(state, as_json=False),
    "verify": budgeting.verify,
    "export": lambda state: budgeting.export(state, "json", None),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_ledger_is_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    command = COMMANDS[name]
    with pytest.raises(UsageError, match=r"expected this site's state folder, found none; choose it with --dir"):
        command(StateFolder(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no institution is enrolled here"):
        command(StateFolder(tmp_path / "empty"))
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "none").exists()
    for words in (b"x" * 4096, b"SQLite format 3\0" + bytes(84)):
        (tmp_path / "empty" / "ledger.sqlite").write_bytes(words)
        with pytest.raises(StoreError, match="the privacy ledger is damaged"):
            command(StateFolder(tmp_path / "empty"))


def test_verify_says_what_it_cannot_see(folder: StateFolder, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, lambda: budgeting.verify(folder))
    assert "5 entries of 3 data sets" in text
    assert "PASS" in text
    assert "Not seen: entries that were cut off the end" in text


def test_a_noted_head_shows_that_entries_were_cut_off(
    folder: StateFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(folder.ledger) as ledger:
        before, after = ledger.chain()[1].digest, ledger.chain()[-1].digest
    for head in (before, after):
        assert "Not seen" not in said(capsys, partial(budgeting.verify, folder, head=head))
    with sqlite3.connect(folder.ledger) as database:
        database.execute("DROP TRIGGER entries_never_vanish")
        database.execute("DELETE FROM entries WHERE sequence > 3")
    budgeting.verify(folder, head=before)
    with pytest.raises(StoreError, match="cut off"):
        budgeting.verify(folder, head=after)
    shutil.move(folder.ledger, tmp_path / "away")
    with pytest.raises(StoreError, match="cut off"):
        budgeting.verify(folder, head=before)
    with pytest.raises(UsageError, match="--head: 'abc' is not a digest"):
        budgeting.verify(folder, head="abc")


def test_a_receipt_that_is_no_bundle_is_refused_wherever_it_is_asked(folder: StateFolder, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no bundle")
    (tmp_path / "unenrolled").mkdir()
    for state in (folder, StateFolder(tmp_path / "unenrolled")):
        with pytest.raises(
            UsageError, match=r"notes\.txt: not a result bundle: .*; give a published result \(\.vdbb\)"
        ):
            budgeting.verify(state, [text])
        with pytest.raises(UsageError, match=r"none: expected a result bundle, cannot read it \(No such file"):
            budgeting.verify(state, [tmp_path / "none"])
        with pytest.raises(UsageError, match=r"expected a result bundle, cannot read it \(Is a directory"):
            budgeting.verify(state, [tmp_path])


def test_a_receipt_is_of_no_use_where_nobody_is_enrolled(folder: StateFolder, tmp_path: Path) -> None:
    bundle = tmp_path / "result.vdbb"
    bundle.write_bytes(sample_bundle())
    with pytest.raises(
        UsageError, match=r"no institution is enrolled here, so nothing in .*result\.vdbb .* with --dir"
    ):
        budgeting.verify(folder, [bundle])
