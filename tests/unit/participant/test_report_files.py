"""Where an institution's page is written, and what happens when it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from testkit.bundles import SmallSession
from testkit.own_clips import US, make, ours, session_of, spec_of
from testkit.pages import pictures
from vdb_participant.commands.joining import show_page
from vdb_participant.commands.reporting import write_session_page
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.store import ClipStore
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.storage import write_durably
from vdb_shared.errors import StoreError, UsageError


def state_of(session: SmallSession, folder: Path) -> StateFolder:
    """Return the state folder of an institution after a session."""
    state = StateFolder(folder)
    config = ConfigFile(
        consortium="testbed",
        institution=US,
        address="lead.example.org:7443",
        root_fingerprint=session.root,
        ca_certificate="",
        spiffe_id=f"spiffe://testbed/participant/{US}",
    )
    write_durably(state.config, config.encode())
    write_durably(state.session(session.record.open.payload_digest) / "result.vdbb", session.bundle())
    return state


def test_the_page_lies_beside_the_bundle_for_its_owner_alone(tmp_path: Path) -> None:
    session = session_of()
    state = state_of(session, tmp_path)
    make(ClipStore(state.clips), spec_of(session), ours(session))
    name = session.record.open.payload_digest
    page = write_session_page(state, name[7:19])
    assert page == state.session(name) / "result.html"
    assert page.stat().st_mode & 0o077 == 0
    assert pictures(page.read_text())
    other = write_session_page(state, name, tmp_path / "other.html", 1)
    assert 0 < len(pictures(other.read_text())) <= 3
    bundle = state.session(name) / "result.vdbb"
    for spared in (bundle, state.config):
        with pytest.raises(UsageError, match="is what this command reads, and would be written over"):
            write_session_page(state, name, spared)
    assert write_session_page(state, name, page) == page
    assert bundle.read_bytes() == session.bundle()
    with pytest.raises(UsageError, match="cannot be written"):
        write_session_page(state, name, tmp_path / "no" / "such" / "folder.html")


def test_sessions_without_a_result_have_no_page(tmp_path: Path) -> None:
    session = session_of()
    state = state_of(session, tmp_path)
    with pytest.raises(UsageError, match="ffff: expected the id of a session that this site joined"):
        write_session_page(state, "ffff")
    (state.session(session.record.open.payload_digest) / "result.vdbb").unlink()
    with pytest.raises(StoreError, match="expected the published result"):
        write_session_page(state, session.record.open.payload_digest)


def _no_store(state: StateFolder, _session: SmallSession) -> None:
    state.clips.write_text("a file in the place of the folder")


def _empty_clip(state: StateFolder, session: SmallSession) -> None:
    """A clip without a frame, which nothing of ours writes: no picture can be made of it."""
    store = ClipStore(state.clips)
    key = Engine(spec_of(session), store).key(ours(session)[0])
    store.put(key, Clip(np.zeros((0, 32, 32, 3), np.uint8)), seconds=1.0, device="CPU")


@pytest.mark.parametrize("fault", [_no_store, _empty_clip])
def test_a_page_that_cannot_be_made_is_one_line_after_the_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Callable[[StateFolder, SmallSession], None]
) -> None:
    session = session_of()
    state = state_of(session, tmp_path)
    fault(state, session)
    show_page(state, session.record.open.payload_digest)
    found = capsys.readouterr()
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert line.startswith("warning: the page with this site's clips was not written: ")
    assert (state.session(session.record.open.payload_digest) / "result.vdbb").exists()


def test_the_end_of_a_session_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = session_of()
    state = state_of(session, tmp_path)
    show_page(state, session.record.open.payload_digest)
    printed = capsys.readouterr().out
    assert printed == f"with clips made here: {state.session(session.record.open.payload_digest) / 'result.html'}\n"
