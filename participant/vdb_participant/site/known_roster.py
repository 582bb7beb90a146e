"""The newest roster that this site has seen: what it knew once, nobody can take back.

Promises that a trust root which was seen stays in its place; that an older roster than the newest is taken only if all of its
members are members still, each under the same key, and its session was opened before the newest roster was seen in one; and
that what is kept is one file, written whole. Leaves signatures and expiry, which are verified before, to `vdb_shared.roster`.

Source: protos/README.md §3.3; The Update Framework specification 1.0, §5.3.11 (recovery from versions that a thief signed).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vdb_participant.site.config import StateFolder
from vdb_participant.site.storage import make_folder, write_durably
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import FormatError, IdentityError, StoreError
from vdb_shared.roster import SignedRoster, parse_roster

_FILE: Final = "known.json"


class _Known(BaseModel):
    """known.json: the texts of root files, targets and roster, and when the first session with them was opened."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-known-roster/1"]
    roots: tuple[str, ...]
    targets: str
    roster: str
    opened: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """The newest roster.

    Attributes:
        roster: with all root files that were seen.
        opened: when the first session in which it was seen was opened, by the coordinator's clock; None if it was in none.
    """

    roster: SignedRoster
    opened: str | None


def accept_roster(folder: StateFolder, offered: SignedRoster, opened: str | None = None) -> None:
    """Keep a verified roster if it is the newest one; refuse it if keys that were replaced could come back with it.

    A longer chain of roots makes a roster newer whatever its number: so a number that somebody signed with a stolen key holds
    only until the key is replaced.

    Args:
        folder: state folder.
        offered: the roster.
        opened: when the session that it came with was opened, by the coordinator's clock; None if it came with none.

    Raises:
        IdentityError: its chain of roots is shorter or another one than was seen before; it is another roster of the same
            version; or it is older, and its session is too late for it or has a member that is none any more.
        StoreError: what is kept cannot be read.
    """
    with _alone(folder):
        known = read_known(folder)
        if known is None or _is_newer(offered, known.roster):
            _write(folder, Known(offered, opened))
        elif offered.version < known.roster.version:
            _check_nobody_comes_back(offered, opened, known)
        elif offered.roster != known.roster.roster:
            raise IdentityError(
                f"the coordinator shows another version {offered.version} of the roster than was seen before; do not go on, "
                "and tell the lead by telephone"
            )
        elif opened is not None and (known.opened is None or opened < known.opened):
            _write(folder, Known(known.roster, opened))


def read_known(folder: StateFolder) -> Known | None:
    """Return the newest roster that was seen; None before the first one.

    Raises:
        StoreError: what is kept cannot be read.
    """
    place = folder.path / "roster"
    if not (place / _FILE).exists():
        return _in_files(place)
    try:
        found = _Known.model_validate_json(_kept(place / _FILE))
    except ValidationError as error:
        raise StoreError(f"{place / _FILE}: is damaged; restore it from a backup") from error
    roots = tuple(root.encode() for root in found.roots)
    return Known(SignedRoster(roots, found.targets.encode(), found.roster.encode()), found.opened)


def _in_files(place: Path) -> Known | None:
    """Return what earlier programs kept in several files, which may be of two rosters."""
    if not (place / "targets.json").exists():
        return None
    roots, number = [], 1
    while (kept := place / f"root.{number}.json").exists():
        roots.append(_kept(kept))
        number += 1
    if not roots:
        raise StoreError(f"{place}: root.1.json is missing; restore the folder from a backup")
    return Known(SignedRoster(tuple(roots), _kept(place / "targets.json"), _kept(place / "roster.json")), None)


def _write(folder: StateFolder, known: Known) -> None:
    signed = known.roster
    content = _Known(
        version="vdb-known-roster/1",
        roots=tuple(root.decode() for root in signed.roots),
        targets=signed.targets.decode(),
        roster=signed.roster.decode(),
        opened=known.opened,
    )
    write_durably(folder.path / "roster" / _FILE, canonical_json(content.model_dump(mode="json")))


def _is_newer(offered: SignedRoster, known: SignedRoster) -> bool:
    """Return whether a roster is newer than the known one, whose chain of roots its own must begin with.

    A roster key that was replaced could sign any version of the roster under a shorter chain.
    """
    for number, root in enumerate(known.roots, start=1):
        if number > len(offered.roots):
            raise IdentityError(
                f"the coordinator shows version {len(offered.roots)} of the trust root, version {len(known.roots)} was seen "
                "before; ask the lead"
            )
        if root != offered.roots[number - 1]:
            raise IdentityError(
                f"the coordinator shows another version {number} of the trust root than was seen before; do not go on, and "
                "tell the lead by telephone"
            )
    return len(offered.roots) > len(known.roots) or offered.version > known.version


def _check_nobody_comes_back(older: SignedRoster, opened: str | None, known: Known) -> None:
    """Check that an older roster is that of a session opened before, and that all of its members are members still."""
    seen = f"version {known.roster.version} was seen here"
    if opened is not None and known.opened is not None and opened > known.opened:
        raise IdentityError(
            f"this session was opened at {opened} with version {older.version} of the roster, and {seen} in a session of "
            f"{known.opened}: sessions are opened with the newest roster, so do not go on, and tell the lead by telephone"
        )
    try:
        members = set(known.roster.verify(None, None).members)
    except (IdentityError, FormatError) as error:
        raise StoreError(
            f"this session was opened with version {older.version} of the roster; {seen} since, but its file here is damaged, "
            "so nobody can tell who is a member still; restore the folder roster/ from a backup, or join a session that was "
            "opened later"
        ) from error
    ended = [member.institution for member in parse_roster(older.roster).members if member not in members]
    if ended:
        raise IdentityError(
            f"this session was opened with version {older.version} of the roster; {seen} since, and {', '.join(ended)} is no "
            "member any more, or has another key, so the session cannot be joined; ask the lead to abort it and open it anew"
        )


@contextmanager
def _alone(folder: StateFolder) -> Iterator[None]:
    """Hold the folder of the roster against other agents of this site."""
    place = folder.path / "roster"
    make_folder(place)
    with open(place / "lock", "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _kept(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); restore it from a backup") from error
