"""`report`, and the page that is written when a session has finished: the result with clips that were made here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vdb_participant.apart import left
from vdb_participant.generation.store import ClipStore
from vdb_participant.report.choice import PROMPTS
from vdb_participant.report.pages import Held, evaluation_page, session_page
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.site.config import StateFolder, chosen, read_config
from vdb_participant.site.storage import write_durably, write_private
from vdb_shared.errors import StoreError, UsageError
from vdb_shared.evaluation import Evaluation
from vdb_shared.named_files import spare
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Spec
from vdb_shared.wording import one_line

PAGE_FILE: Final = "result.html"
"""Beside the bundle, in the folder of a session."""


def write_session_page(state: StateFolder, name: str, file: Path | None = None, prompts: int = PROMPTS) -> Path:
    """Write the page of a published session and return where it is.

    Args:
        state: of the site.
        name: session id, or the beginning of one.
        file: where to write; beside the bundle by default.
        prompts: how many the page shows, at most.

    Raises:
        UsageError: no such session here, or the file cannot be written.
        StoreError: it has no published result here.
        VdbError: see `session_page`.
    """
    session = state.find_session(name)
    if session is None:
        raise UsageError(f"{name}: expected the id of a session that this site joined, or its beginning, found none")
    config = read_config(state)
    folder = state.session(session)
    if file is not None and file.absolute() != (folder / PAGE_FILE).absolute():
        spare([state.path], (file,))
    try:
        bundle = (folder / RESULT_FILE).read_bytes()
    except OSError as error:
        gone = left(state, session)
        if gone is not None and gone.told:
            raise StoreError(
                f"session {session[7:19]}: this site left it ({one_line(gone.why)}), so its result is not here and `join` "
                "fetches none; if the others published one, ask the lead for it: `vdb-audit verify RESULT --root "
                f"{config.root_fingerprint}` checks it"
            ) from error
        raise StoreError(
            f"{folder / RESULT_FILE}: expected the published result ({error.strerror}); `vdb-participant {chosen(state)}join "
            f"{session[7:19]} --data DIR` goes on with the session, or says how it ended and fetches what the others published"
        ) from error
    page = session_page(bundle, config.institution, config.root_fingerprint, _held(state, prompts))
    if file is None:
        write_durably(folder / PAGE_FILE, page.encode())
        return folder / PAGE_FILE
    write_private(file, page.encode())
    return file


def write_evaluation_page(state: StateFolder, spec: Spec, evaluation: Evaluation, file: Path) -> None:
    """Write the page of an evaluation that was made here alone.

    Raises:
        UsageError: the file cannot be written.
        StoreError: clips cannot be read.
    """
    write_private(file, evaluation_page(spec, evaluation, _held(state, PROMPTS)).encode())


def _held(state: StateFolder, prompts: int) -> Held:
    return Held(ClipStore(state.clips), load_registry(state.registry), prompts)
