"""`object` and `objections`: this institution objects to a published result, carries objections of auditors, and fetches all.

Promises that what the coordinator says of an objection's place in the log is shown only after it was verified.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from vdb_participant.commands.screen import console
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_participant.site.keys import Passphrase
from vdb_shared.audit.objecting import Target, object_to, place_of, target_of
from vdb_shared.bundle.objections import files_of
from vdb_shared.errors import UsageError


def object_here(
    folder: StateFolder, passphrase: Passphrase, session: str, words: tuple[str, str], out: Path | None
) -> None:
    """Object to the result of a session, and say where the objection stands in the log.

    The objection is written before it is sent: whatever the coordinator does with it, the institution holds it.

    Args:
        folder: the state folder.
        passphrase: asked when the key is encrypted.
        session: session id, or the beginning of one.
        words: class of the reason, and the reason.
        out: new file for the signed objection, or None.

    Raises:
        UsageError: the file is there already or cannot be written, or there are no such words.
        VdbError: there is no result, the coordinator refuses, or what it answers is not true.
    """
    site = open_site(folder, passphrase)
    if out is not None and out.exists():
        raise UsageError(f"{out}: exists already; name another file or remove it")
    with Client(Connection(site.config.address, site.tls)) as link:
        target = target_of(_bundle(folder, link, session), site.config.root_fingerprint)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        objection = object_to(target, site.signer, words[0], words[1], now)
        if out is not None:
            _write(out, objection)
        _hand_in(link, target, objection)


def carry(folder: StateFolder, passphrase: Passphrase, session: str, file: Path) -> None:
    """Hand in what somebody else signed, and say where it stands in the log; raises as `object_here`."""
    site, objection = open_site(folder, passphrase), _read(file)
    with Client(Connection(site.config.address, site.tls)) as link:
        target = target_of(_bundle(folder, link, session), site.config.root_fingerprint)
        _hand_in(link, target, objection)


def fetch(folder: StateFolder, passphrase: Passphrase, session: str, out: Path) -> None:
    """Write what was said of a result as files.

    Raises:
        UsageError: the folder or a file in it cannot be written.
        VdbError: the coordinator refuses, or cannot be reached.
    """
    site = open_site(folder, passphrase)
    with Client(Connection(site.config.address, site.tls)) as link:
        said = link.said(folder.find_session(session) or session)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror})") from error
    for name, data in files_of(said.objections, said.withdrawal).items():
        _write(out / name, data)
    withdrawn = "the withdrawal" if said.withdrawal else "no withdrawal"
    console().print(
        f"{out}: {len(said.objections)} objections, {withdrawn}; unverified until `vdb-audit verify` reads them"
    )


def _hand_in(link: Client, target: Target, objection: bytes) -> None:
    entry, proof = link.object(target.session, objection)
    index = place_of(target, objection, entry, proof)
    console().print(f"the objection is entry {index} of the log; whoever reads the log sees it")


def _bundle(folder: StateFolder, link: Client, session: str) -> bytes:
    """Return the published result: the one that is kept here, or else the coordinator's."""
    known = folder.find_session(session)
    kept = None if known is None else folder.session(known) / RESULT_FILE
    return kept.read_bytes() if kept is not None and kept.is_file() else link.bundle(session)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
