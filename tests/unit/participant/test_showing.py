"""What people see of the work: steps and time left on a terminal, lines and the log elsewhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
import structlog
from rich.console import Console

from vdb_participant.commands import showing
from vdb_participant.commands.showing import Shown, shown_progress
from vdb_participant.generation.progress import Event

STAGE = "generating with m"


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _work(shown: Shown) -> None:
    shown.progress(STAGE, 0, 2)
    shown.tell(Event("begun", "m", 0, 2))
    for step in range(1, 4):
        shown.tell(Event("step", "m", 0, 2, step, 3, 90.0))
    shown.progress(STAGE, 1, 2)
    shown.tell(Event("finished", "m", 1, 2, seconds_left=60.0))
    shown.progress(STAGE, 2, 2)
    shown.tell(Event("finished", "m", 2, 2, seconds_left=0.0))


def _terminal(out: io.StringIO) -> Callable[..., Console]:
    return lambda *, stderr=False: Console(file=out, force_terminal=True, width=120)


def test_a_terminal_shows_step_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(showing, "console", _terminal(out))
    with shown_progress() as shown:
        shown.progress(STAGE, 0, 2)
        shown.tell(Event("step", "m", 0, 2, 2, 3, 180.0))
    assert f"{STAGE}, step 2 of 3, 3 min left" in out.getvalue()


def test_elsewhere_the_log_has_every_clip(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as shown:
        _work(shown)
    found = capsys.readouterr()
    assert found.out == ""
    lines = found.err.splitlines()
    assert [line for line in lines if "[info" not in line] == ["generating with m 0/2", "generating with m 2/2"]
    logged = [line.split("[info     ] ")[1] for line in lines if "[info" in line]
    assert [line.split(" kind=")[0] for line in logged] == [
        "generating with m: 0 of 2 clips",
        "generating with m: 1 of 2 clips, 1 min left",
        "generating with m: 2 of 2 clips, less than a minute left",
    ]
