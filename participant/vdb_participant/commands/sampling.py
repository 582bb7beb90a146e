"""`prove-sample`: what an auditor's spot check would be told, and the file that tells it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer
from pydantic import TypeAdapter, ValidationError

from vdb_participant.commands.screen import console
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session import records
from vdb_participant.session.chosen_once import CHOICE_FILE, ChosenOnce
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.session.known_log import KnownLog, LogSource
from vdb_participant.session.log_copy import open_copy
from vdb_participant.session.proving import OwnResult, Question, Shown, answer, open_lines, own_result, revealed
from vdb_participant.session.records import Consented
from vdb_participant.session.retention import drop_old_samples
from vdb_participant.session.samples import SAMPLES_FILE, KeptSamples
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import Site, check_connected, open_site
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.keys import Passphrase
from vdb_participant.site.seen_log import SeenLog
from vdb_participant.site.storage import write_durably
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.spot_check import Asked, check_opening
from vdb_shared.bundle.sample_choice import MAX_CHOICE_BYTES, parse_choice
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import digest_bytes
from vdb_shared.commandline import agreed
from vdb_shared.errors import FormatError, StoreError, UsageError, VerificationError
from vdb_shared.fields import Name
from vdb_shared.named_files import read_file
from vdb_shared.wording import counted


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator typed; `clips` also stands for the words of private records; without `log` the coordinator is asked."""

    session: str
    checkpoint: Path
    count: int
    auditor: str
    out: Path
    clips: bool
    data: Path | None
    yes: bool
    log: str | None


def prove(folder: StateFolder, passphrase: Passphrase, wish: Wish) -> None:
    """Show what a spot check would be told, ask, and write the file for the auditor.

    Raises:
        UsageError: a file cannot be read or written, or nobody consented.
        StoreError: the list of the session was not kept, or is another one.
        VerificationError: the file would not pass the auditor's check.
        ProtocolError: the log that chooses is not the one that this site knows, or another one chose before.
        UnreachableError: the coordinator cannot be asked whether it is, nor a copy of the log read.
        VdbError: see `open_lines`.
    """
    session = folder.find_session(wish.session)
    if session is None:
        raise UsageError(
            f"{wish.session}: expected the id of a session that this site joined, or its beginning, found none"
        )
    if not wish.out.parent.is_dir():
        raise UsageError(f"{wish.out}: there is no such folder to write it to; make it, or choose another")
    if wish.out.is_dir() or (wish.out.exists() and wish.checkpoint.exists() and wish.out.samefile(wish.checkpoint)):
        raise UsageError(f"{wish.out}: is a folder, or what this command reads; name another file")
    _check_name(wish.auditor)
    site = open_site(folder, passphrase)
    tell_dropped(site)
    place = folder.session(session)
    bundle = _read(place / RESULT_FILE, "the published result")
    kept = _kept(place / SAMPLES_FILE)
    result = own_result(bundle, site.config.institution, site.config.root_fingerprint)
    choice = _choice(wish.checkpoint)
    once = ChosenOnce(place / CHOICE_FILE, SeenLog(folder.log), result.place, log_key(result.roster))
    once.check(choice)
    _compare_logs(site, result, choice, wish.log)
    question = Question(choice, wish.count, wish.auditor, _shown(site, result, wish) if wish.clips else None)
    opening, clips = open_lines(result, kept, question, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    out = console()
    out.print(
        f"This opens {counted(len(opening.opened), 'record')} of session {session} to {wish.auditor}, without noise:"
    )
    for words in revealed(opening):
        out.print(f"  {words}")
    out.print("Whoever has the file can read it. The ledger does not count it.")
    _consent(yes=wish.yes)
    data = answer(opening, clips, question, site.signer)
    root = site.config.root_fingerprint
    report = check_opening(Evidence(bundle, root, DEFAULT_POLICY, draft=False), data, Asked(wish.count, root))
    if report.failure is not None:
        raise VerificationError(f"{report.failure.sentence} {report.failure.detail}".strip(), check=report.failure.id)
    once.hold(choice)
    write_durably(wish.out, data)
    out.print(f"{wish.out}: written; the auditor checks it with `vdb-audit check-sample`")


def _choice(path: Path) -> bytes:
    """Return the file with which the auditor asks; whether it is of our log and result is seen later."""
    data = read_file(path, MAX_CHOICE_BYTES)
    try:
        parse_choice(data)
    except FormatError as error:
        raise UsageError(
            f"--checkpoint: {path} is not the file that `vdb-audit choose-sample` writes ({error}); ask the auditor for it"
        ) from error
    return data


def _compare_logs(site: Site, result: OwnResult, choice: bytes, copy: str | None) -> None:
    """Check that the log which chooses, the one with the result and the one that this site saw are one.

    Args:
        site: whose view of the log counts, and goes on.
        result: of the session.
        choice: the file that chooses.
        copy: where the log is read; None to ask the coordinator for it as it is now.
    """
    notes = parse_choice(choice).checkpoint, result.proof.checkpoint
    if copy is not None:
        shown = open_copy(copy, log_key(result.roster), result.session, result.opened, site.egress)
        _known(site, result, shown).accept(*notes)
        return
    check_connected(site.folder, "let the auditor bring a copy of the log's folder, and name it with --log FOLDER")
    with Client(Connection(site.config.address, site.tls, site.egress)) as link:
        _known(site, result, link).accept(*notes)


def _known(site: Site, result: OwnResult, source: LogSource) -> KnownLog:
    return KnownLog(source, result.session, result.roster, result.opened, SeenLog(site.folder.log))


def tell_dropped(site: Site) -> None:
    """Erase the lists that the site's policy keeps no longer, and say of which sessions."""
    for session in drop_old_samples(site.folder, site.policy, datetime.now(UTC)):
        words = f"{session[:19]}: the list for spot checks was erased, as policy.toml says (samples_days)"
        console(stderr=True).print(words)


def _check_name(auditor: str) -> None:
    try:
        TypeAdapter(Name).validate_python(auditor)
    except ValidationError as error:
        raise UsageError(
            f"--auditor: expected a name as in the roster (lower-case letters, digits, dots, dashes), found {auditor!r}"
        ) from error


def _kept(path: Path) -> KeptSamples:
    try:
        return KeptSamples.decode(_read(path, "the list of what was measured"))
    except FormatError as error:
        raise StoreError(f"{path}: {error}; restore it from a backup") from error


def _shown(site: Site, result: OwnResult, wish: Wish) -> Shown:
    from vdb_participant.generation.store import ClipStore  # noqa: PLC0415 (loading it takes long)
    from vdb_participant.session.shown_clips import ShownClips  # noqa: PLC0415 (loading it takes long)
    from vdb_shared.registry.rows import load_registry  # noqa: PLC0415 (used here alone)

    data = wish.data or _folder_of(site.folder, result.session)
    return ShownClips(result.spec, ClipStore(site.folder.clips), load_registry(site.folder.registry), data)


def _folder_of(folder: StateFolder, session: str) -> Path:
    """Return the data directory that was consented to."""
    journal = _read(folder.session(session) / "journal", "the session's journal")
    found = {record.name: record.value for record in read_journal(journal, digest_bytes(session)).records}
    return Path(Consented.decode(found[records.CONSENTED]).folder)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: expected {what}, cannot read it ({error.strerror})") from error


def _consent(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing was written: opening records needs a terminal, or --yes")
    if not agreed("Write the file?"):
        console().print("nothing was written")
        raise typer.Exit(1)
