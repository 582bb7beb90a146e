"""A copy of the log in the coordinator's place: what a site would not believe of the coordinator, it believes of no copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from testkit.bundles import logged
from testkit.logs import MadeLog
from testkit.opened_lines import Story, entry_of, kept_list, own_checkpoint
from vdb_participant.session import log_copy
from vdb_participant.session.chosen_once import CHOICE_FILE, ChosenOnce
from vdb_participant.session.known_log import KnownLog
from vdb_participant.session.log_copy import LogCopy, open_copy
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import ProtocolError, StoreError, UnreachableError, UsageError


@pytest.fixture(scope="module")
def story() -> Story:
    return Story(kept_list())


def with_entries(story: Story, *entries: bytes) -> MadeLog:
    """Return a log with these entries and the coordinator's signature."""
    return MadeLog(story.log.consortium, story.log.signer, list(entries))


def forged(story: Story, word: str = "tried until it chose well") -> MadeLog:
    """Return a log that the coordinator made for one question: the entry that chooses is another."""
    entries = story.log.entries
    return with_entries(story, *entries[:2], entry_of(word), *entries[2:])


def note_of(log: MadeLog) -> bytes:
    return log.files()["checkpoint"]


def written(files: Mapping[str, bytes], folder: Path) -> str:
    """Write a copy of a log into a folder, and return the folder as an operator types it."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)


def opened(story: Story, place: str, path: Path) -> LogCopy:
    """Return the copy that a site opens whose egress journal lies in `path`."""
    result = story.result
    journal = EgressJournal(path / "egress.jsonl")
    return open_copy(place, log_key(result.roster), result.session, result.opened, journal)


def seen(path: Path, log: MadeLog | None = None) -> SeenLog:
    """Return what a site saw of the log: nothing, or the newest state of one."""
    found = SeenLog(path / "log")
    if log is not None:
        with found.held() as held:
            held.remember(note_of(log))
    return found


def accept(story: Story, copy: MadeLog, here: SeenLog, path: Path, *, asked: MadeLog | None = None) -> None:
    """Compare a copy with the log in the auditor's file (the copy's own, if none is named), the result and what was seen."""
    result = story.result
    shown = opened(story, written(copy.files(), path / f"copy-{len(list(path.iterdir()))}"), path)
    known = KnownLog(shown, result.session, result.roster, result.opened, here)
    known.accept(note_of(asked or copy), result.proof.checkpoint)


def remembered(here: SeenLog) -> bytes:
    with here.held() as held:
        return held.note


def evidence(here: SeenLog) -> list[bytes]:
    return [file.read_bytes() for file in sorted(here.folder.glob("fork-*.txt"))]


def test_a_copy_that_continues_what_was_seen_is_taken_and_remembered(story: Story, tmp_path: Path) -> None:
    here = seen(tmp_path, with_entries(story, *story.log.entries[:3]))
    accept(story, story.log, here, tmp_path, asked=with_entries(story, *story.log.entries[:4]))
    assert remembered(here) == note_of(story.log)
    assert not evidence(here)
    assert not (tmp_path / "egress.jsonl").exists(), "a folder is read and nothing leaves"


def test_a_site_that_saw_nothing_has_the_results_witnesses_to_compare_with(story: Story, tmp_path: Path) -> None:
    here = seen(tmp_path)
    accept(story, story.log, here, tmp_path)
    assert remembered(here) == note_of(story.log)


def test_a_log_that_was_made_for_the_question_is_refused_by_who_saw_another(story: Story, tmp_path: Path) -> None:
    """The attack: all that the auditor brings fits together and is signed. Nothing but what the site saw speaks against it."""
    here, copy, result = seen(tmp_path, story.log), forged(story), story.result
    choice = story.choice(copy).encode()
    ChosenOnce(tmp_path / CHOICE_FILE, here, result.place, log_key(result.roster)).check(choice)
    lines = [item.number for item in story.opened(story.question(choice=choice))[0].opened]
    assert lines != [item.number for item in story.opened(story.question())[0].opened], "it would open other lines"
    with pytest.raises(ProtocolError, match="shows another log than before"):
        accept(story, copy, here, tmp_path)
    assert remembered(here) == note_of(story.log)
    assert evidence(here) == [note_of(story.log) + b"\n" + note_of(copy)]


def test_a_site_that_took_one_log_takes_no_other_afterwards(story: Story, tmp_path: Path) -> None:
    """Whoever saw nothing behind the result cannot know better; but it is one log, and the true one proves the fork."""
    here = seen(tmp_path, logged(story.session))
    accept(story, forged(story), here, tmp_path)
    for other in (forged(story, "tried again"), with_entries(story, *story.log.entries, entry_of("a"), entry_of("b"))):
        with pytest.raises(ProtocolError, match="shows another log than before"):
            accept(story, other, here, tmp_path)
    assert remembered(here) == note_of(forged(story))
    assert len(evidence(here)) == 2


def test_a_log_with_another_past_than_the_witnesses_signed_is_refused_by_everybody(
    story: Story, tmp_path: Path
) -> None:
    entries = story.log.entries
    here = seen(tmp_path)
    copy = with_entries(story, entries[0], entry_of("in the place of the result"), *entries[2:])
    with pytest.raises(ProtocolError, match="shows another log than before"):
        accept(story, copy, here, tmp_path)
    assert not remembered(here)
    assert story.result.proof.checkpoint in evidence(here)[0]


def test_an_older_copy_answers_nothing_and_takes_no_place(story: Story, tmp_path: Path) -> None:
    """It could be of another log, whose later entries it does not show."""
    copy = with_entries(story, *story.log.entries[:4])
    here = seen(tmp_path, story.log)
    with pytest.raises(UsageError, match="has 4 entries, and 5 are known: an older copy"):
        accept(story, copy, here, tmp_path)
    assert remembered(here) == note_of(story.log)
    fresh = seen(tmp_path / "fresh")
    with pytest.raises(UsageError, match="an older copy"):
        accept(story, copy, fresh, tmp_path, asked=story.log)
    assert not remembered(fresh)


def test_a_log_that_does_not_say_that_the_session_is_open_is_refused(story: Story, tmp_path: Path) -> None:
    copy = with_entries(story, *(entry_of(f"another {number}") for number in range(6)))
    with pytest.raises(
        ProtocolError, match=f"does not say that session {story.result.session[:19]} is open; so .* shows it$"
    ):
        accept(story, copy, seen(tmp_path), tmp_path)


def test_where_the_opening_stands_is_read_from_the_log_and_shown(story: Story, tmp_path: Path) -> None:
    entries = [entry_of("before"), *story.log.entries]
    copy = opened(story, written(with_entries(story, *entries).files(), tmp_path / "copy"), tmp_path)
    view = copy.log_view(story.result.session, 2)
    assert (view.index, view.checkpoint) == (1, note_of(with_entries(story, *entries)))
    assert view.inclusion == with_entries(story, *entries).proof(1, {}).path
    assert copy.log_view(story.result.session, 6).consistency == ()


@pytest.mark.parametrize("damage", ["another signature", "another tile", "a file of nothing"])
def test_what_is_no_whole_copy_of_this_log_is_refused_before_it_is_compared(
    story: Story, tmp_path: Path, damage: str
) -> None:
    files = dict(story.log.files())
    if damage == "another signature":
        files["checkpoint"] = own_checkpoint(story, story.log)
    elif damage == "another tile":
        files["tile/0/000.p/5"] = bytes(len(files["tile/0/000.p/5"]))
    else:
        files["checkpoint"] = b""
    with pytest.raises(UsageError, match="is no whole copy of this consortium's log"):
        opened(story, written(files, tmp_path / "copy"), tmp_path)


@contextmanager
def served(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; yield its URL, and the paths that were asked for."""
    asked: list[str] = []

    class Noting(SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Noting, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


def test_what_is_asked_of_a_server_is_in_the_egress_journal_first(story: Story, tmp_path: Path) -> None:
    written(story.log.files(), tmp_path / "copy")
    with served(str(tmp_path)) as (url, asked):
        copy = opened(story, f"{url}copy/", tmp_path)
        assert copy.log_view(story.result.session, 5).checkpoint == note_of(story.log)
        left = [entry.departure for entry in EgressJournal(tmp_path / "egress.jsonl").read().entries]
        assert asked[0] == "/copy/checkpoint"
        assert [item.what for item in left] == [f"GET {url.rstrip('/')}{path}" for path in asked]
    assert {(item.kind, item.address, item.size) for item in left} == {("download", url[7:-1], 0)}
    assert {item.fields["session"] for item in left} == {story.result.session}


@pytest.mark.parametrize(
    ("place", "address", "asked"),
    [
        ("https://log.example.org", "log.example.org:443", "https://log.example.org/checkpoint"),
        ("https://log.example.org:8443/x/", "log.example.org:8443", "https://log.example.org:8443/x/checkpoint"),
        ("http://log.example.org/x", "log.example.org:80", "http://log.example.org/x/checkpoint"),
    ],
)
def test_the_journal_names_the_server_and_what_it_is_asked_for(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, address: str, asked: str
) -> None:
    def nobody_there(_place: str) -> Callable[[str], bytes]:
        def unreachable(_path: str) -> bytes:
            raise UnreachableError("nobody is there")

        return unreachable

    monkeypatch.setattr(log_copy, "naming_fetch_from", nobody_there)
    with pytest.raises(UnreachableError):
        opened(story, place, tmp_path)
    (entry,) = EgressJournal(tmp_path / "egress.jsonl").read().entries
    assert (entry.departure.address, entry.departure.what) == (address, f"GET {asked}")


def test_nothing_is_asked_of_a_server_where_it_cannot_be_written_down(story: Story, tmp_path: Path) -> None:
    (tmp_path / "egress.jsonl").mkdir()
    with served(written(story.log.files(), tmp_path / "copy")) as (url, asked):
        with pytest.raises(StoreError):
            opened(story, url, tmp_path)
        assert not asked


@pytest.mark.parametrize("place", ["http://[", "https://log.example.org:port", "", "no-such-folder"])
def test_what_is_neither_folder_nor_url_is_said_to_be_none(story: Story, tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        opened(story, place, tmp_path)


def test_a_password_in_a_url_is_not_written_down(story: Story, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        opened(story, "http://me:secret@127.0.0.1:1", tmp_path)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "egress.jsonl").exists()
