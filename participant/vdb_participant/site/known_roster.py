"""The newest roster that this site has seen: what it knew once, nobody can take back.

Promises that a trust root which was seen stays in its place, and that an older roster than the newest is taken only if all of
its members are members still, each under the same key: so nobody comes back with it. Leaves signatures and expiry, which are
verified before, to `vdb_shared.roster`.

Source: protos/README.md §3.3.
"""

from __future__ import annotations

from pathlib import Path

from vdb_participant.site.config import StateFolder
from vdb_participant.site.storage import write_durably
from vdb_shared.errors import FormatError, IdentityError, StoreError
from vdb_shared.roster import SignedRoster, parse_roster


def accept_roster(folder: StateFolder, roster: SignedRoster) -> None:
    """Keep a verified roster if it is the newest one; refuse it if keys that were replaced could come back with it.

    Raises:
        IdentityError: its chain of roots is shorter or another one than was seen before, or it is older than one that was
            seen and has a member that is none any more.
        StoreError: what is kept cannot be read.
    """
    _check_roots_continue(folder, roster)
    newest = _newest(folder)
    if newest is None or roster.version >= newest.version:
        save_roster(folder, roster)
        return
    gone = _gone(roster, newest)
    if gone:
        raise IdentityError(
            f"this session was opened with version {roster.version} of the roster, version {newest.version} was seen here "
            f"since: {gone}, so the session cannot be joined; ask the lead to abort it and open it anew"
        )


def save_roster(folder: StateFolder, roster: SignedRoster) -> None:
    """Keep a verified roster, so that it can be looked at without the coordinator."""
    place = folder.path / "roster"
    for number, root in enumerate(roster.roots, start=1):
        write_durably(place / f"root.{number}.json", root)
    write_durably(place / "targets.json", roster.targets)
    write_durably(place / "roster.json", roster.roster)


def _newest(folder: StateFolder) -> SignedRoster | None:
    """Return what is kept, with as many roots as there are; None before the first roster."""
    place = folder.path / "roster"
    if not (place / "targets.json").exists():
        return None
    roots, number = [], 1
    while (kept := place / f"root.{number}.json").exists():
        roots.append(_kept(kept))
        number += 1
    roster = place / "roster.json"
    return SignedRoster(tuple(roots), _kept(place / "targets.json"), _kept(roster) if roster.exists() else b"")


def _gone(older: SignedRoster, newest: SignedRoster) -> str:
    """Return whose membership under an older roster has ended, in words, or "" if all of its members are members still."""
    try:
        members = set(newest.verify(None, None).members)
    except (IdentityError, FormatError):  # stopped between writing two files, so the newest members are not known
        return "who has ceased to be a member is not known here"
    ended = [member.institution for member in parse_roster(older.roster).members if member not in members]
    return f"{', '.join(ended)} is no member any more, or has another key" if ended else ""


def _check_roots_continue(folder: StateFolder, roster: SignedRoster) -> None:
    """Check that all roots seen before stand in a chain, unchanged.

    A roster key that was replaced could sign any version of the roster under a shorter chain.
    """
    number = 1
    while (kept := folder.path / "roster" / f"root.{number}.json").exists():
        if number > len(roster.roots):
            raise IdentityError(
                f"the coordinator shows version {len(roster.roots)} of the trust root, version {number} was seen before; "
                "ask the lead"
            )
        if _kept(kept) != roster.roots[number - 1]:
            raise IdentityError(
                f"the coordinator shows another version {number} of the trust root than was seen before; do not go on, and "
                "tell the lead by telephone"
            )
        number += 1


def _kept(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); restore it from a backup") from error
