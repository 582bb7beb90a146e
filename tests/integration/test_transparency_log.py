"""The log of a running coordinator, as an auditor reads it: what is opened is announced, and how it ends."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.specs import small_spec
from vdb_coordinator.cli import app as lead_app
from vdb_coordinator.config import render_config
from vdb_shared.audit.cli import app as audit_app
from vdb_shared.errors import UsageError
from vdb_shared.transparency.tiles import CHECKPOINT_PATH


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=4) as running:
        yield running


def key_of(coordinator: RunningCoordinator) -> str:
    done = CliRunner().invoke(lead_app, ["--dir", str(coordinator.home.path), "log", "--json"])
    assert done.exit_code == 0, done.output
    key: str = json.loads(done.stdout)["key"]
    return key


def monitored(coordinator: RunningCoordinator, *more: str, expect: int = 0, place: str = "") -> dict[str, object]:
    words = ["monitor", place or str(coordinator.home.log), "--key", key_of(coordinator), "--json", *more]
    done = CliRunner().invoke(audit_app, words)
    assert done.exit_code == expect, done.output
    value: dict[str, object] = json.loads(done.stdout)
    return value


def states(found: dict[str, object]) -> list[str]:
    sessions = found["sessions"]
    assert isinstance(sessions, list)
    return [session["state"] for session in sessions]


def test_a_session_is_announced_before_anybody_can_join(coordinator: RunningCoordinator) -> None:
    session = coordinator.admin.create_session(small_spec())
    found = monitored(coordinator)
    assert states(found) == ["open"]
    assert session in json.dumps(found)


def test_how_it_ends_is_logged_also_after_a_restart(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    remember = ["--remember", str(tmp_path / "seen")]
    first = coordinator.admin.create_session(small_spec())
    monitored(coordinator, *remember)
    coordinator.admin.abort_session(first, "the lead thought better of it")
    coordinator.settle(first)
    coordinator.restart()
    coordinator.admin.create_session(small_spec())
    found = monitored(coordinator, *remember)
    assert states(found) == ["aborted", "open"]
    assert "was run in 2 sessions: 0 published, 1 aborted, 1 open" in str(found["remarks"])
    coordinator.admin.create_session(small_spec())
    assert states(monitored(coordinator, *remember)) == ["aborted", "open", "open"]


def test_a_log_that_cannot_be_written_stops_everything_after_the_opening(coordinator: RunningCoordinator) -> None:
    """Fails closed: the session is stored, and nothing happens in it until the log says that it is open."""
    checkpoint = coordinator.home.log / CHECKPOINT_PATH
    coordinator.home.log.rename(coordinator.home.path / "aside")
    coordinator.home.log.write_bytes(b"in the way")
    with pytest.raises(UsageError, match="its operator finds the reason in its log"):
        coordinator.admin.create_session(small_spec())
    assert "log: cannot be made" in coordinator.log.getvalue()
    coordinator.home.log.unlink()
    (coordinator.home.path / "aside").rename(coordinator.home.log)
    coordinator.restart()
    assert checkpoint.exists()
    assert states(monitored(coordinator)) == ["open"]


def test_the_log_is_served_over_http_where_the_lead_says_so(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as running:
        running.stop()
        config = running.home.read_config().model_copy(update={"log_listen": "127.0.0.1:0"})
        text = render_config(config) + 'log_listen = "127.0.0.1:0"\n'
        running.home.config_file.write_text(text, encoding="utf-8")
        running.start()
        lines = [json.loads(line) for line in running.log.getvalue().splitlines()]
        address = next(line["address"] for line in lines if line["event"] == "serving the log")
        with urllib.request.urlopen(f"http://{address}/checkpoint", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert states(monitored(running, place=f"http://{address}")) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "--key", "K"], "nowhere: expected the folder of a log, or its URL"),
        (["nowhere", "--key", "x+y"], "--key: "),
        (["http://127.0.0.1:9", "--key", "K"], "checkpoint: cannot be reached (Connection refused)"),
    ],
)
def test_wrong_input_is_one_line(coordinator: RunningCoordinator, words: list[str], message: str) -> None:
    given = [key_of(coordinator) if word == "K" else word for word in words]
    done = CliRunner().invoke(audit_app, ["monitor", *given])
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)


def test_what_was_not_remembered_is_refused_before_the_log_is_read(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    junk = tmp_path / "junk"
    junk.write_text("no checkpoint")
    for file, message in (
        (junk, "junk: is no checkpoint of this log that --remember kept: "),
        (tmp_path / "none" / "seen", "seen: its folder does not exist; make it first"),
    ):
        words = ["monitor", "http://127.0.0.1:9", "--key", key_of(coordinator), "--remember", str(file)]
        done = CliRunner().invoke(audit_app, words)
        assert isinstance(done.exception, UsageError)
        assert message in str(done.exception)
    assert junk.read_text() == "no checkpoint"
