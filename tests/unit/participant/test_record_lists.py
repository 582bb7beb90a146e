"""Which sessions count against a data set: those that used a part of one of its records."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.charges import CAP, NOW, charge, list_of
from vdb_participant.data.dataset import Dataset
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.policy import DEFAULT_POLICY
from vdb_shared.errors import BudgetError
from vdb_shared.privacy.record_list import NONE, RecordList


class Site:
    """A ledger, and sessions that are numbered as they come."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        self.number = 0

    def session(self, data: RecordList, rho: str = "0.06", charging: str = "overlapping") -> bool:
        """Return whether a session with these data is admitted."""
        self.number += 1
        try:
            self.ledger.debit(
                data, charge(self.number, data, rho), CAP, "site" if charging == "site" else "overlapping", NOW
            )
        except BudgetError:
            return False
        return True


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "ledger.sqlite")


def test_one_record_more_or_less_opens_no_account_for_the_rest(site: Site) -> None:
    assert site.session(list_of("a", "b/1", "/2"))
    for changed in (("a", "b/1", "/2", "c"), ("b/1",), ("a",), ("/2", "x"), ("x/1",), ("b/9",)):
        assert not site.session(list_of(*changed)), changed
    assert site.session(list_of("c", "/3"))


def test_a_data_set_that_overlaps_two_is_charged_for_both(site: Site) -> None:
    assert site.session(list_of("a"), "0.05")
    assert site.session(list_of("b"), "0.05")
    assert not site.session(list_of("a", "b"), "0.01")
    assert site.session(list_of("a"), "0.05")


def test_words_and_file_that_stood_together_are_one_record_for_good(site: Site) -> None:
    assert site.session(list_of("a"), "0.04")
    assert site.session(list_of("a/1"), "0.02")
    assert not site.session(list_of("/1"), "0.05"), "the pair has had 0.06"
    assert site.session(list_of("/1"), "0.04")


def test_words_and_file_that_stood_apart_may_cost_the_cap_each_and_the_policy_says_so(site: Site) -> None:
    """Nothing tells that they belong together before a list does; from then on no session of either has anything left."""
    assert site.session(list_of("p"), "0.1")
    assert site.session(list_of("/1"), "0.1")
    assert not site.session(list_of("p/1"), "0.000001"), "the pair has had twice the cap"
    assert not site.session(list_of("/2"), "0.000001", charging="site"), "there every session counts"
    assert "the two together up to TWICE epsilon_total" in " ".join(DEFAULT_POLICY.replace("#", " ").split())


def test_under_the_policy_site_everything_counts_and_nothing_is_lost_when_it_changes(site: Site) -> None:
    assert site.session(list_of("a"), charging="overlapping")
    assert not site.session(list_of("b"), charging="site")
    assert site.session(list_of("b"), "0.04", charging="site")
    assert not site.session(list_of("a"), charging="overlapping")


def sharing_oracle(known: Iterable[RecordList], data: RecordList) -> set[str]:
    """Return what `RecordLists.sharing` promises, by its words."""
    known = list(known)
    records = {record for one in (*known, data) for record in one}
    touched = {part for record in records if set(record) & data.parts for part in record if part != NONE}
    return {one.digest for one in known if one.parts & touched}


LISTS = st.lists(
    st.sampled_from(["a", "b", "c", "d", "/1", "/2", "/3", "a/1", "b/2", "c/3", "a/2", "d/4"]), min_size=1, max_size=4
).map(lambda records: list_of(*records))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LISTS, st.sampled_from(["0.01", "0.03", "0.06"])), max_size=9))
def test_no_record_is_ever_charged_more_than_the_cap_nor_a_session_refused_without_need(
    sessions: list[tuple[RecordList, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder) / "ledger.sqlite")
        admitted: list[tuple[RecordList, Decimal]] = []
        for data, rho in sessions:
            counted = sharing_oracle((one for one, _ in admitted), data)
            before = sum((cost for one, cost in admitted if one.digest in counted), Decimal(0))
            assert site.ledger.standing(data, "overlapping").spent == before
            assert site.session(data, rho) == (before + Decimal(rho) <= CAP)
            if before + Decimal(rho) <= CAP:
                admitted.append((data, Decimal(rho)))
            _check_records(admitted)
        site.ledger.verify()


def _check_records(admitted: list[tuple[RecordList, Decimal]]) -> None:
    """The bound of `vdb_shared.privacy.ledger`, for every record that a debited list holds."""
    for record in {record for data, _ in admitted for record in data}:
        parts = {part for part in record if part != NONE}
        assert sum(cost for data, cost in admitted if data.parts & parts) <= CAP


@pytest.fixture
def data(tmp_path: Path, site_data: Path) -> Path:
    """A folder of 12 captioned videos."""
    return Path(shutil.copytree(site_data, tmp_path / "data"))


def read(folder: Path, frames: int = 1) -> RecordList:
    return Dataset.open(folder, frames=frames).private


def test_a_folder_that_was_moved_and_its_files_renamed_is_the_same_data_set(
    site: Site, data: Path, tmp_path: Path
) -> None:
    before = read(data)
    assert site.session(before)
    moved = data.rename(tmp_path / "elsewhere")
    lines = (moved / "prompts.jsonl").read_text()
    for number, path in enumerate(sorted((moved / "clips").iterdir())):
        path.rename(path.with_name(f"new-{number}.mp4"))
        lines = lines.replace(path.name, f"new-{number}.mp4")
    (moved / "prompts.jsonl").write_text("".join(reversed(lines.splitlines(keepends=True))))
    assert read(moved) == before
    assert not site.session(read(moved))


def test_files_that_are_added_edited_or_removed_change_the_data_set_and_open_no_budget(site: Site, data: Path) -> None:
    before = read(data)
    assert site.session(before)
    clips = sorted((data / "clips").iterdir())
    clips[0].write_bytes(clips[0].read_bytes() + bytes(8))
    clips[1].rename(data / "clips" / "other.mp4")
    with (data / "prompts.jsonl").open("a") as stream:
        stream.write(json.dumps({"id": "more", "prompt": "one more prompt"}) + "\n")
    text = (data / "prompts.jsonl").read_text().replace(f"clips/{clips[1].name}", "clips/other.mp4")
    (data / "prompts.jsonl").write_text(text)
    assert read(data).dataset != before.dataset
    assert not site.session(read(data))


def test_halves_of_a_folder_have_budgets_of_their_own_and_the_whole_has_neither(
    site: Site, data: Path, tmp_path: Path
) -> None:
    lines = (data / "prompts.jsonl").read_text().splitlines(keepends=True)
    halves = []
    for number, chosen in enumerate((lines[:6], lines[6:])):
        folder = tmp_path / f"half-{number}"
        (folder / "clips").mkdir(parents=True)
        for line in chosen:
            clip = json.loads(line)["clip"]
            shutil.copy(data / clip, folder / clip)
        (folder / "prompts.jsonl").write_text("".join(chosen))
        halves.append(read(folder))
    assert all(site.session(half) for half in halves)
    assert not site.session(read(data), "0.01")
    assert all(site.session(half, "0.04") for half in halves)


def test_no_spec_chooses_what_is_charged(data: Path) -> None:
    """A spec says how many frames a video must have; those that are too short count all the same."""
    (data / "clips" / "broken.mp4").write_bytes(b"no video")
    few, many = Dataset.open(data, frames=1), Dataset.open(data, frames=10**6)
    assert few.clips
    assert not many.clips
    assert few.private == many.private
    assert len(few.private.parts) == 12 + 12 + 1


def test_one_shared_record_among_many_is_found(site: Site) -> None:
    size = 10**4
    first = RecordList.of((NONE, number.to_bytes(32, "big")) for number in range(1, size))
    assert site.session(first)
    later = RecordList.of((NONE, number.to_bytes(32, "big")) for number in range(size - 1, 2 * size))
    assert not site.session(later), "one record of so many is shared"
    assert site.session(RecordList.of((NONE, number.to_bytes(32, "big")) for number in range(size, 2 * size)))
    site.ledger.verify()
