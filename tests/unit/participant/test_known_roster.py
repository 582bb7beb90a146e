"""What a site remembers of rosters: keys that were revoked or replaced do not come back."""

from __future__ import annotations

from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from testkit.rosters import NOW, ROSTER, member, root_signed_by, targets_signed_by
from vdb_participant.site.config import StateFolder
from vdb_participant.site.known_roster import accept_roster, read_known
from vdb_shared.errors import IdentityError, StoreError
from vdb_shared.roster import Member, Roster, SignedRoster


class Consortium:
    """Whoever signs rosters, and a site that is shown them."""

    def __init__(self, folder: Path) -> None:
        self.folder = StateFolder(folder)
        self._keys = [CryptoSigner.generate_ed25519()]
        self._root = root_signed_by(self._keys)

    def signed(self, version: int, *members: Member) -> SignedRoster:
        roster = Roster(version="vdb-roster/1", consortium="test", members=members).canonical()
        return SignedRoster((self._root,), targets_signed_by(self._keys, roster, version=version), roster)


A, B, C, LEAD = member("a", 0), member("b", 1), member("c", 2), member("lead", None)
B_WITH_ANOTHER_KEY = B.model_copy(update={"statement_key": member("stolen", 1).statement_key})


NINE, TEN, ELEVEN = (f"2026-03-01T{hour:02}:00:00Z" for hour in (9, 10, 11))


def kept(folder: StateFolder) -> SignedRoster:
    found = read_known(folder)
    assert found is not None
    return found.roster


def test_a_session_opened_before_somebody_was_admitted_can_be_joined(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    newest = consortium.signed(2, A, B, C, LEAD)
    accept_roster(consortium.folder, newest, TEN)
    accept_roster(consortium.folder, consortium.signed(1, A, B, LEAD), NINE)
    assert kept(consortium.folder) == newest, "the newest one is kept"
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0}


@pytest.mark.parametrize(
    "since", [(A, LEAD), (A, B_WITH_ANOTHER_KEY, LEAD), (A, C, LEAD)], ids=["revoked", "another key", "another member"]
)
def test_whoever_was_taken_out_does_not_come_back_with_an_older_roster(
    since: tuple[Member, ...], tmp_path: Path
) -> None:
    """Genuinely signed, not expired, but older than one that was seen."""
    consortium = Consortium(tmp_path)
    older = consortium.signed(1, A, B, LEAD)
    accept_roster(consortium.folder, older, NINE)
    accept_roster(consortium.folder, consortium.signed(2, *since), TEN)
    with pytest.raises(IdentityError, match="version 2 was seen here since, and b is no member any more"):
        accept_roster(consortium.folder, older, NINE)


def test_an_older_roster_that_was_never_signed_before_brings_nobody_in(tmp_path: Path) -> None:
    """Who holds the roster key today can sign any number: an older one must not admit whom the newest does not have."""
    consortium = Consortium(tmp_path)
    accept_roster(consortium.folder, consortium.signed(7, A, B, LEAD), TEN)
    with pytest.raises(IdentityError, match="c is no member any more"):
        accept_roster(consortium.folder, consortium.signed(3, A, C, LEAD), NINE)


def test_a_session_that_was_opened_later_with_an_older_roster_is_loud(tmp_path: Path) -> None:
    """Whoever signed a high number with a stolen key must not hide that members are revoked under lower ones."""
    consortium = Consortium(tmp_path)
    accept_roster(consortium.folder, consortium.signed(1_000_000, A, B, LEAD), TEN)
    with pytest.raises(IdentityError, match="tell the lead by telephone"):
        accept_roster(consortium.folder, consortium.signed(8, A, LEAD), ELEVEN)


def test_the_first_session_with_the_newest_roster_counts(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    for opened in (None, ELEVEN, NINE, TEN):
        accept_roster(consortium.folder, consortium.signed(2, A, B, LEAD), opened)
    with pytest.raises(IdentityError, match="tell the lead"):
        accept_roster(consortium.folder, consortium.signed(1, A, B, LEAD), TEN)
    accept_roster(consortium.folder, consortium.signed(1, A, B, LEAD), NINE)


def test_two_rosters_of_one_version_are_refused(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    accept_roster(consortium.folder, consortium.signed(2, A, B, LEAD), NINE)
    with pytest.raises(IdentityError, match="another version 2 of the roster"):
        accept_roster(consortium.folder, consortium.signed(2, A, LEAD), NINE)


def write_as_earlier_programs(folder: Path, roster: bytes, signed: SignedRoster) -> None:
    (folder / "roster").mkdir(mode=0o700)
    (folder / "roster" / "root.1.json").write_bytes(signed.roots[0])
    (folder / "roster" / "targets.json").write_bytes(signed.targets)
    (folder / "roster" / "roster.json").write_bytes(roster)


def test_what_an_earlier_program_kept_is_remembered(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    older, newer = consortium.signed(1, A, B, LEAD), consortium.signed(2, A, LEAD)
    write_as_earlier_programs(tmp_path, newer.roster, newer)
    with pytest.raises(IdentityError, match="b is no member any more"):
        accept_roster(consortium.folder, older, NINE)


def test_an_earlier_program_that_stopped_between_two_files_costs_nobody_a_session(tmp_path: Path) -> None:
    """Nothing older is taken, the lead is not asked to abort anything, and the next newer roster mends it."""
    consortium = Consortium(tmp_path)
    older, newer = consortium.signed(1, A, B, LEAD), consortium.signed(2, A, LEAD)
    write_as_earlier_programs(tmp_path, older.roster, newer)
    with pytest.raises(StoreError, match="is damaged, so nobody can tell"):
        accept_roster(consortium.folder, older, NINE)
    newest = consortium.signed(3, A, LEAD)
    accept_roster(consortium.folder, newest, TEN)
    assert kept(consortium.folder) == newest
    (tmp_path / "roster" / "known.json").unlink()
    (tmp_path / "roster" / "root.1.json").unlink()
    with pytest.raises(StoreError, match=r"root\.1\.json is missing"):
        accept_roster(consortium.folder, newest, TEN)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    accept_roster(consortium.folder, consortium.signed(1, A, B, LEAD))
    (tmp_path / "roster" / "known.json").write_bytes(b"{}")
    with pytest.raises(StoreError, match=r"known\.json: is damaged; restore it"):
        accept_roster(consortium.folder, consortium.signed(1, A, B, LEAD))


def test_a_new_root_ends_the_numbers_that_a_thief_signed(tmp_path: Path) -> None:
    """The roster key was stolen, a million signed with it; the lead replaces the key and goes on with version 8."""
    folder, old, new = StateFolder(tmp_path), [CryptoSigner.generate_ed25519()], [CryptoSigner.generate_ed25519()]
    first = root_signed_by(old)
    second = root_signed_by(new, version=2, also=(old[0],))

    def signed(roots: tuple[bytes, ...], keys: list[CryptoSigner], version: int, *members: Member) -> SignedRoster:
        roster = Roster(version="vdb-roster/1", consortium="test", members=members).canonical()
        return SignedRoster(roots, targets_signed_by(keys, roster, version=version), roster)

    accept_roster(folder, signed((first,), old, 7, A, B, LEAD), NINE)
    accept_roster(folder, signed((first,), old, 1_000_000, A, B, LEAD), TEN)
    revoked = signed((first, second), new, 8, A, LEAD)
    accept_roster(folder, revoked, ELEVEN)
    assert kept(folder) == revoked
    for replayed in (
        signed((first,), old, 7, A, B, LEAD),
        signed((first,), old, 1_000_001, A, B_WITH_ANOTHER_KEY, LEAD),
    ):
        with pytest.raises(IdentityError, match="version 1 of the trust root, version 2 was seen before"):
            accept_roster(folder, replayed, NINE)


def seen_with_two_roots(folder: StateFolder) -> tuple[list[CryptoSigner], list[CryptoSigner], SignedRoster]:
    """Return the keys of two versions of the root, and the roster under both, which the folder has seen."""
    old, new = [CryptoSigner.generate_ed25519()], [CryptoSigner.generate_ed25519()]
    roster = ROSTER.canonical()
    chain = (root_signed_by(old), root_signed_by(new, version=2, also=(old[0],)))
    seen = SignedRoster(chain, targets_signed_by(new, roster, version=2), roster)
    seen.verify(seen.root_fingerprint, NOW)
    accept_roster(folder, seen)
    return old, new, seen


def test_keys_that_the_root_replaced_cannot_come_back_behind_a_shorter_chain(tmp_path: Path) -> None:
    """Whoever holds the old roster key signs any version under the root that named it: the pin alone does not help."""
    folder = StateFolder(tmp_path)
    old, _, seen = seen_with_two_roots(folder)
    roster = ROSTER.canonical()
    rolled_back = SignedRoster(seen.roots[:1], targets_signed_by(old, roster, version=99), roster)
    assert rolled_back.verify(seen.root_fingerprint, NOW) == ROSTER
    with pytest.raises(IdentityError, match="version 1 of the trust root, version 2 was seen before"):
        accept_roster(folder, rolled_back)


def test_another_second_root_than_the_one_that_was_seen_is_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    old, _, seen = seen_with_two_roots(folder)
    thief, roster = [CryptoSigner.generate_ed25519()], ROSTER.canonical()
    fork = root_signed_by(thief, version=2, also=(old[0],))
    forked = SignedRoster((seen.roots[0], fork), targets_signed_by(thief, roster, version=99), roster)
    assert forked.verify(seen.root_fingerprint, NOW) == ROSTER
    with pytest.raises(IdentityError, match="another version 2 of the trust root"):
        accept_roster(folder, forked)


def test_a_longer_chain_than_was_seen_is_taken_and_remembered(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    _, new, seen = seen_with_two_roots(folder)
    third, roster = [CryptoSigner.generate_ed25519()], ROSTER.canonical()
    chain = (*seen.roots, root_signed_by(third, version=3, also=(new[0],)))
    longer = SignedRoster(chain, targets_signed_by(third, roster, version=3), roster)
    longer.verify(seen.root_fingerprint, NOW)
    accept_roster(folder, longer)
    with pytest.raises(IdentityError, match="version 2 of the trust root, version 3 was seen"):
        accept_roster(folder, seen)
