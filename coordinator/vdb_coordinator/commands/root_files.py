"""What the commands about the trust root do with files.

Promises that a version is installed as a whole or not at all, by nobody while the coordinator serves, and that no holder signs
what was not shown. Leaves what is signed to `identity/roots.py`.

Source: protos/README.md §3.3.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection

from vdb_coordinator.commands.order_files import read_order
from vdb_coordinator.commands.terminal import Common, check_new, console, print_json, write_new
from vdb_coordinator.config import Home
from vdb_coordinator.files import DirectoryLock, make_directories, read_file, write_durably
from vdb_coordinator.identity.keys import is_encrypted, key_pem, read_signing_key
from vdb_coordinator.identity.roots import (
    RootChange,
    RootContents,
    accepted,
    contents,
    digest_of,
    key_id_of,
    parse_public_pem,
    proposed,
    public_pem,
    with_signature,
)
from vdb_coordinator.identity.roster_key import check_held, next_roster_key
from vdb_coordinator.orders import Handed, installation, ordered, record_done
from vdb_coordinator.serving.clock import SystemClock, timestamp
from vdb_coordinator.store.database import Database, count_epoch, migrate
from vdb_shared.commandline import agreed
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.wire.enrolment import grouped, ungrouped


@dataclass(frozen=True, slots=True)
class Wish:
    """What `change` was asked for: public key files, fingerprints, a threshold, a new roster key."""

    add: tuple[Path, ...]
    remove: tuple[str, ...]
    threshold: int | None
    new_roster_key: bool


def key(file: Path, passphrase: bytes | None) -> None:
    """Make a root key and its public part."""
    public_file = file.with_name(f"{file.name}.pub")
    check_new(public_file)
    fresh = Ed25519PrivateKey.generate()
    write_new(file, key_pem(fresh, passphrase), secret=True)
    write_new(public_file, public_pem(fresh.public_key()))
    screen = console()
    screen.print(f"wrote {file}: keep it offline, and a copy elsewhere")
    screen.print(f"wrote {public_file}: send it to the lead, and read this to the lead by telephone:")
    screen.print(grouped(key_id_of(fresh.public_key())))


def show(common: Common, file: Path | None, *, as_json: bool) -> None:
    """Show a version of the root."""
    found = contents_of(file)[0] if file is not None else contents(_home(common).read_roots()[-1])
    if as_json:
        print_json(
            {
                "version": found.version,
                "expires": timestamp(found.expires),
                "threshold": found.threshold,
                "keys": list(found.keys),
                "roster_keys": list(found.roster_keys),
                "signed": list(found.signed),
            }
        )
        return
    _print(found)


def contents_of(file: Path) -> tuple[RootContents, bytes]:
    """Return what a file with a version of the root says, and its bytes.

    Raises:
        UsageError: it cannot be read.
        IdentityError: it is no root; names the file.
    """
    data = read_file(file)
    try:
        return contents(data), data
    except IdentityError as error:
        raise IdentityError(f"{file}: {error}") from error


def change(common: Common, wish: Wish, output: Path) -> None:
    """Write the next version of the root, without signatures."""
    home = _home(common)
    check_new(output)
    added = tuple(_public_key(path) for path in wish.add)
    removed = tuple(ungrouped(text) for text in wish.remove)
    chain, now = home.read_roots(), SystemClock().now()
    plain = RootChange(added, removed, wish.threshold)
    proposed(chain, plain, now)  # refuses a wrong wish before a key is made for it
    if wish.new_roster_key:
        passphrase = common.passphrase_for(encrypted=is_encrypted(home.key("roster")))
        plain = RootChange(added, removed, wish.threshold, next_roster_key(home, passphrase))
    data = proposed(chain, plain, now)
    write_new(output, data)
    _print(contents(data))
    before = contents(chain[-1])
    screen = console()
    screen.print(
        f"wrote {output}: send it to the holders of root keys; each runs: vdb-coordinator root sign {output.name}"
    )
    screen.print(
        f"it takes {before.threshold} of the {len(before.keys)} present holders and {contents(data).threshold} of the "
        f"{len(contents(data).keys)} in it; then: vdb-coordinator root install {output.name}"
    )


def sign(common: Common, file: Path, private_key: Path | None, *, yes: bool) -> None:
    """Add a signature to a proposed version, after its holder has seen what it says."""
    found, data = contents_of(file)
    _print(found)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("compare what is shown with what was agreed on, and give --yes")
        if not agreed("Is this what was agreed on?"):
            raise IdentityError(f"{file} was not signed")
    place = private_key or Home(common.directory).key("root")
    holder = read_signing_key(place, common.passphrase_for(encrypted=is_encrypted(place)))
    write_durably(file, with_signature(data, holder))
    console().print(f"signed {file} with {grouped(key_id_of(holder.public_key()))}; send it back to the lead")


def install(common: Common, files: Sequence[Path], order: Path | None) -> None:
    """Make a version the trust root; the server signs the roster under it when it starts.

    Raises:
        UsageError, RefusedError: the policy wants the signatures of several people, who have not signed this.
    """
    home = _home(common)
    handed = None if order is None else read_order(order)
    passphrase = common.passphrase_for(encrypted=is_encrypted(home.key("roster")))
    lock = DirectoryLock(home.lock)
    try:
        chain = home.read_roots()
        data = accepted(chain, [contents_of(file)[1] for file in files], SystemClock().now())
        check_held(home, data, passphrase)
        _record(home, data, handed)
        place = home.root_version(len(chain) + 1)
        make_directories(place.parent)
        write_durably(place, data)
    finally:
        lock.release()
    screen = console()
    screen.print(
        f"the trust root has version {len(chain) + 1}; its first version, which everybody pins, stays as it is"
    )
    screen.print(f"next: vdb-coordinator --dir {home.path} serve")


def _record(home: Home, data: bytes, handed: Handed | None) -> None:
    """Write into the audit log which version is installed, and who has signed that where the policy wants it."""
    config, now = home.read_config(), SystemClock().now()
    deed = installation(config.consortium, contents(data).version, digest_of(data))
    order = ordered(config.approvals, deed, handed, now)
    outcome = f"version {deed.parameters['version']}, {deed.parameters['root']}"

    def store(connection: Connection) -> None:
        migrate(connection)
        count_epoch(connection)
        record_done(connection, order, now, "vdb-coordinator root install", "install root", outcome)

    database = Database(home.database(config))
    try:
        database.run_now(store)
    finally:
        database.close()


def _home(common: Common) -> Home:
    home = Home(common.directory)
    home.read_config()
    return home


def _public_key(path: Path) -> Ed25519PublicKey:
    data = read_file(path)
    try:
        found = parse_public_pem(data)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from error
    console().print(f"{path}: {grouped(key_id_of(found))}; compare it with what its holder reads out")
    return found


def _print(found: RootContents) -> None:
    screen = console()
    screen.print(f"trust root, version {found.version}, expires {timestamp(found.expires)}")
    screen.print(f"{found.threshold} of these keys must sign the next version:")
    for key_id in found.keys:
        screen.print(f"  {grouped(key_id)}{'  signed this one' if key_id in found.signed else ''}")
    for key_id in found.roster_keys:
        screen.print(f"the roster is signed by {grouped(key_id)}")
