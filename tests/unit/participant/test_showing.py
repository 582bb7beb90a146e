"""What people see of the work: steps and time left on a terminal, lines and the log elsewhere."""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import structlog
from rich.console import Console
from rich.progress import Progress as Bars

from vdb_participant.commands import showing
from vdb_participant.commands.showing import Shown, shown_progress, took
from vdb_participant.generation.progress import Event
from vdb_participant.logs import log_to_stderr, sentence

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


def _terminal(out: io.StringIO, width: int = 120) -> Callable[..., Console]:
    return lambda *, stderr=False: Console(file=out, force_terminal=True, width=width)


def _last_drawn(out: io.StringIO) -> list[str]:
    """Return the lines that a terminal shows after all that was written, without its control codes."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in out.getvalue().splitlines()]


def test_a_terminal_shows_step_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(showing, "screen", _terminal(out))
    with shown_progress() as shown:
        shown.progress(STAGE, 0, 2)
        shown.tell(Event("step", "m", 0, 2, 2, 3, 180.0))
    assert "step 2 of 3, 3 min left" in out.getvalue()


def test_nothing_is_drawn_before_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn anew ten times a second wipes out the line in which somebody is asked for consent."""
    out = io.StringIO()
    monkeypatch.setattr(showing, "screen", _terminal(out))
    with shown_progress() as shown:
        shown.say("a line for people")
        time.sleep(0.3)
        assert out.getvalue() == "a line for people\n"
    assert out.getvalue() == "a line for people\n"


@pytest.mark.parametrize("width", [60, 61, 72, 80, 100, 200])
@pytest.mark.parametrize("model", ["m", "vdb-tiny-1", "a-model-with-a-very-long-name-that-somebody-gave-it-here"])
def test_bars_fit_every_terminal_and_nothing_of_them_is_cut(
    monkeypatch: pytest.MonkeyPatch, width: int, model: str
) -> None:
    out, stage = io.StringIO(), f"generating with {model}"
    monkeypatch.setattr(showing, "screen", _terminal(out, width))
    with shown_progress() as shown:
        shown.progress(stage, 1234, 5678)
        shown.tell(Event("step", model, 1234, 5678, 12, 50, 30.0))
    lines = _last_drawn(out)
    assert max(map(len, lines)) <= width
    drawn = "".join("".join(lines).split())
    assert "…" not in drawn
    for words in ("1234/5678", "step 12 of 50,", "under a"):
        assert "".join(words.split()) in drawn or width < 80, words
    letters = Counter(drawn)
    for words in (stage, "step 12 of 50, under a minute left", "1234/5678"):
        assert not Counter("".join(words.split())) - letters, f"{words} is there whole, in however many lines"


def test_work_that_is_done_says_what_it_took_and_no_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(showing, "screen", _terminal(out, 60))
    with shown_progress() as shown:
        _work(shown)
        shown.progress("measuring m", 0, 0)
        shown.progress("generating with n", 4, 4)
        shown.say("a line for people")
    lines = _last_drawn(out)
    assert "generating with m: 2 of 2, took less than 1 s" in lines
    assert "measuring m: nothing to do here" in lines
    assert "generating with n: all 4 were there already" in lines
    assert lines.index("a line for people") > lines.index("generating with n: all 4 were there already")
    assert not [line for line in lines if "2/2" in line], "what is done has no bar any more"
    assert not [line for line in lines if line.startswith(STAGE) and "2 of 2" in line and "left" in line]


def test_news_of_a_stage_that_is_done_bring_its_bar_back_in_no_order() -> None:
    said: list[str] = []
    seconds = [100.0]
    with Bars(console=Console(file=io.StringIO(), width=80)) as drawn:
        bars = showing._Bars(drawn, said.append, lambda: seconds[0])
        bars(STAGE, 0, 2)
        seconds[0] += 125.4
        bars(STAGE, 2, 2)
        bars(STAGE, 2, 2)
        bars.event(Event("step", "m", 1, 2, 3, 3, 5.0))
        bars.event(Event("finished", "m", 2, 2, seconds_left=0.0))
        assert not drawn.tasks
        bars(STAGE, 0, 3)
        assert [task.total for task in drawn.tasks] == [3], "the same again is new work"
    assert said == [f"{STAGE}: 2 of 2, took 2 min 5 s"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "less than 1 s"), (1, "1 s"), (59.4, "59 s"), (60, "1 min 0 s"), (7199, "119 min 59 s"), (7200, "2.0 h")],
)
def test_how_long_something_took(seconds: float, words: str) -> None:
    assert took(seconds) == words


def test_a_terminal_shows_the_log_as_sentences() -> None:
    assert sentence(None, "info", {"event": "a model was loaded"}) == "a model was loaded"
    told = sentence(None, "warning", {"event": "a worker died", "device": "cuda:0", "valid_until": "noon"})
    assert told == "warning: a worker died (device cuda:0, valid until noon)"


def test_a_terminal_is_shown_no_log_levels_and_a_file_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal, expected in ((True, "it happened (model m)\n"), (False, "[info     ] it happened model=m\n")):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal, raising=False)
        log_to_stderr()
        structlog.get_logger("vdb_participant").info("it happened", model="m")
        found = capsys.readouterr()
        assert found.out == ""
        assert found.err.endswith(expected)
        assert (found.err == expected) is terminal


def test_elsewhere_nothing_is_told_twice_and_what_failed_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as shown:
        _work(shown)
        shown.tell(Event("failed", "m", 1, 2))
    found = capsys.readouterr()
    assert found.out == ""
    lines = found.err.splitlines()
    assert [line for line in lines if "[info" not in line] == ["generating with m 0/2", "generating with m 2/2"]
    (logged,) = (line for line in lines if "[info" in line)
    assert logged.endswith("kind=failed")


def test_elsewhere_lines_become_rarer_after_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that lasts for an hour is told in some seventy lines, not in 720; its end always."""
    now = 0.0
    lines = showing._Lines(lambda: now)
    for done in range(3601):
        now = float(done)
        lines(STAGE, done, 3600)
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in told[:3]] == ["0/3600", "5/3600", "10/3600"]
    assert 60 <= len(told) <= 75
    assert told[-1].endswith("3600/3600")
    lines("another", 0, 5)
    lines("another", 1, 5)
    assert capsys.readouterr().err == "another 0/5\n"
