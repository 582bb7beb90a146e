"""`object` and `objections`: this institution objects to a published result, carries objections of auditors, and fetches all.

Promises that an objection is on the disk before anybody hears of it, that what the coordinator answered is there before it is
judged, and that its place in the log is shown only after this log was seen to be the one that the institutions know.

Source: protos/README.md §9.7.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from vdb_participant.commands.reaching import Offline, awaiting, calls_of
from vdb_participant.commands.screen import console
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.session.known_log import KnownLog, LogSource
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import Site, check_connected, open_site
from vdb_participant.site.keys import Passphrase
from vdb_participant.site.seen_log import SeenLog
from vdb_participant.site.storage import write_durably
from vdb_shared.audit.objecting import Target, object_to, place_of, target_of
from vdb_shared.bundle.objections import FILE_SUFFIX, file_of, files_of, parse_envelope
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import UsageError
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wording import counted


def object_here(
    folder: StateFolder, passphrase: Passphrase, session: str, words: tuple[str, str], out: Path | None
) -> None:
    """Object to the result of a session, and say where the objection stands in the log.

    A site without a network only signs, into the file; whoever brings an objection, the coordinator takes it.

    Args:
        folder: the state folder.
        passphrase: asked when the key is encrypted.
        session: session id, or the beginning of one.
        words: class of the reason, and the reason.
        out: new file for a copy of the signed objection, or None.

    Raises:
        UsageError: the file is there already or cannot be written, or there are no such words.
        VdbError: there is no result, the coordinator refuses, or what it answers is not true.
    """
    site = open_site(folder, passphrase)
    if out is not None and out.exists():
        raise UsageError(f"{out}: exists already; name another file or remove it")
    if site.connected is None:
        _sign_to_file(site, session, words, out)
        return
    with Client(Connection(site.config.address, site.tls, site.egress)) as link:
        target = target_of(_bundle(folder, link, session), site.config.root_fingerprint)
        objection = object_to(target, site.signer, words[0], words[1], _now())
        if out is not None:
            _write_new(out, objection)
        hand_in(folder, link, target, objection)


def _sign_to_file(site: Site, session: str, words: tuple[str, str], out: Path | None) -> None:
    """Sign an objection to a result that is kept here, for others to hand in."""
    known = site.folder.find_session(session)
    kept = None if known is None else site.folder.session(known) / RESULT_FILE
    if kept is None or not kept.is_file():
        raise UsageError(f"{session}: no result of such a session is kept here, so there is nothing to object to")
    if out is None:
        raise UsageError("this site is not connected: say -o FILE, and let any member hand FILE in with --carry")
    target = target_of(kept.read_bytes(), site.config.root_fingerprint)
    objection = object_to(target, site.signer, words[0], words[1], _now())
    write_durably(site.folder.objections / file_of(objection), objection)
    _write_new(out, objection)
    console().print(
        f"{out}: signed, and not handed in: this site is not connected. Bring it to any member, whose command is"
    )
    console().print(f"  vdb-participant object {target.session[7:19]} --carry {out.name}", soft_wrap=True)
    console().print(f"or to the lead: vdb-coordinator session object {target.session[7:19]} {out.name}", soft_wrap=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def carry(folder: StateFolder, passphrase: Passphrase, session: str, file: Path) -> None:
    """Hand in what somebody else signed, and say where it stands in the log; raises as `object_here`."""
    check_connected(folder, f"bring {file} to any member that is, or to the lead; they hand it in as you would have")
    site, objection = open_site(folder, passphrase), _read(file)
    parse_envelope(objection)
    with Client(Connection(site.config.address, site.tls, site.egress)) as link:
        hand_in(folder, link, target_of(_bundle(folder, link, session), site.config.root_fingerprint), objection)


class Coordinator(LogSource, Protocol):
    """Who takes objections and shows the log."""

    def object(self, session: str, objection: bytes) -> tuple[bytes, bytes]:
        """Hand in a signed objection and return its entry in the log with the proof of it, both unverified."""


def hand_in(folder: StateFolder, link: Coordinator, target: Target, objection: bytes) -> None:
    """Hand in an objection, keep it with the answer, and say where it stands in the log that this site knows.

    Args:
        folder: the state folder.
        link: to the coordinator.
        target: the result.
        objection: the envelope.

    Raises:
        VdbError: the coordinator refuses, or what it answers is not true; the objection is kept, and the answer if there is
            one.
    """
    kept = folder.objections / file_of(objection)
    write_durably(kept, objection)
    entry, proof = link.object(target.session, objection)
    answer = f"{kept.name.removesuffix(FILE_SUFFIX)}.{sha256_digest(entry + proof).removeprefix('sha256:')[:16]}"
    write_durably(kept.with_name(f"{answer}.entry"), entry)
    write_durably(kept.with_name(f"{answer}.proof"), proof)
    found = place_of(target, objection, entry, proof)
    log = KnownLog(link, target.session, target.roster, target.opened_entry, SeenLog(folder.log))
    log.accept(parse_proof(proof).checkpoint, target.evidence.result_proof.checkpoint)
    console().print(f"the objection is entry {found.index} of the log; whoever reads the log sees it")
    console().print(f"kept, with the entry and its proof: {kept}", soft_wrap=True)


def fetch(folder: StateFolder, passphrase: Passphrase, session: str, out: Path, offline: Offline | None = None) -> None:
    """Write what was said of a result as files, those that are there already excepted; over files that are carried if so.

    Raises:
        UsageError: the folder or a file in it cannot be written, or one of them is there with other bytes.
        VdbError: the coordinator refuses, or cannot be reached.
    """
    site = open_site(folder, passphrase)
    with awaiting(), Client(calls_of(site, offline, console(stderr=True).print)) as link:
        said = link.said(folder.find_session(session) or session)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made ({error.strerror})") from error
    for name, data in files_of(said.objections, said.withdrawal).items():
        if not (out / name).is_file() or _read(out / name) != data:
            _write_new(out / name, data)
    withdrawn = "the withdrawal" if said.withdrawal else "no withdrawal"
    console().print(
        f"{out}: {counted(len(said.objections), 'objection')}, {withdrawn}; unverified until `vdb-audit verify` reads them"
    )


def _bundle(folder: StateFolder, link: Client, session: str) -> bytes:
    """Return the published result: the one that is kept here, or else the coordinator's."""
    known = folder.find_session(session)
    kept = None if known is None else folder.session(known) / RESULT_FILE
    return kept.read_bytes() if kept is not None and kept.is_file() else link.bundle(session)


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise UsageError(f"{path}: is there already, with other bytes; choose another place or remove it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
