"""Institutions' clocks that are wrong: of one agent among others, by an hour or by more than a year, in both directions.

The agent's process has a wall clock of its own, wrong for whatever asks for the time in it, the libraries of TLS too
(`wrong_clock.c`, preloaded); its monotonic clocks are right, as on a machine whose clock is set wrongly. Where the clock is so
wrong that certificates are not valid, the agent must say so, lose nothing, and go on when the clock is right.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from testkit.faults.agents import Agent, End, Seat, live
from testkit.faults.outcomes import Outcome
from testkit.faults.random_kills import conclude, set_up
from testkit.faults.supervision import Supervised

PART: Final = "institutions' clocks"
AGENTS: Final = 4
WRONG: Final = 0
"""Seat of the agent whose clock is wrong."""

HOUR: Final = timedelta(hours=1)
YEAR: Final = timedelta(days=400)

When = Literal["from the beginning to the end", "until it has said so", "from the middle on", "in the middle"]
"""What is wrong in the middle is set right when the agent has said so, if it notices before the end."""


@dataclass(frozen=True)
class Wrong:
    """A clock that is wrong: by how much, and when."""

    by: timedelta
    when: When

    @property
    def name(self) -> str:
        """The fault in words."""
        hours = self.by / HOUR
        size = f"{hours:+.0f} h" if abs(hours) < 24 else f"{hours / 24:+.0f} days"
        return f"one institution's clock is off by {size} {self.when}"


FAULTS: Final = (
    *(Wrong(by, "from the beginning to the end") for by in (HOUR, -HOUR)),
    *(Wrong(by, "until it has said so") for by in (YEAR, -YEAR)),
    *(Wrong(by, "from the middle on") for by in (HOUR, -HOUR)),
    *(Wrong(by, "in the middle") for by in (YEAR, -YEAR)),
)
"""By a year from the beginning to the end the institution can never connect: its certificate is not valid then."""


def compiler() -> str | None:
    """Return the path of a C compiler, or None where there is none."""
    return shutil.which("cc") or shutil.which("gcc")


class Clock:
    """A wall clock that can be set, of the processes that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        """Compile what makes it wrong; it is right at first."""
        self._file, library = folder / "clock", folder / "wrong_clock.so"
        found = compiler()
        if found is None:
            raise RuntimeError("a wrong clock needs a C compiler")
        source = Path(__file__).with_name("wrong_clock.c")
        subprocess.run([found, "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source], check=True)
        self.set(timedelta(0))
        self.environment = {"LD_PRELOAD": str(library), "VDB_CLOCK": str(self._file)}

    def set(self, by: timedelta) -> None:
        """Let it be wrong from now on."""
        number = int(by.total_seconds()).to_bytes(8, sys.byteorder, signed=True)
        with open(os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
            stream.write(number)


class ClockedAgent(Agent):
    """An agent whose lives are programs with a clock of their own.

    Attributes:
        said: how each life ended, in words.
    """

    def __init__(self, seat: Seat, clock: Clock) -> None:
        super().__init__(seat)
        self.clock, self.said = clock, list[tuple[End, str]]()

    def _once(self) -> None:
        fields = {name: str(value) for name, value in asdict(self.seat).items()}
        command = [sys.executable, "-m", "testkit.faults.site_clocks", *fields.values()]
        environment = os.environ | self.clock.environment | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with self._lock:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            self._pid = process.pid
        self.told.lives += 1
        out, _ = process.communicate()
        with self._lock:
            self._pid = None
        if process.returncode:
            self.told.end, self.told.words = "broken", f"exit status {process.returncode}"
            return
        end, _, words = out.partition(" ")
        self.told.end, self.told.words = _end(end), words.strip()
        self.said.append((self.told.end, self.told.words))
        if self.told.end == "broken" and "clock" in self.told.words:
            self.told.end = "again"  # as the words say: set the clock, and run it again


def _end(word: str) -> End:
    ends: tuple[End, ...] = ("published", "told", "again", "refused", "broken")
    return next(end for end in ends if end == word)


def suffer(wrong: Wrong, folder: Path) -> Outcome:
    """Return what becomes of a session in which one institution's clock is wrong."""
    outcome, clock = Outcome(PART, wrong.name), Clock(folder)
    scene = set_up(folder, agents=AGENTS)
    odd = ClockedAgent(scene.seats[WRONG], clock)
    agents = [odd if seat == WRONG else Agent(place) for seat, place in enumerate(scene.seats)]
    in_the_middle = wrong.when in ("from the middle on", "in the middle")
    if not in_the_middle:
        clock.set(wrong.by)
    with Supervised(scene.coordinator, forked=True) as process:
        for agent in agents:
            agent.start()
        if in_the_middle:
            _wait_until(odd, lambda: any(odd.seat.folder.glob("sessions/*/journal")))
            clock.set(wrong.by)
        if wrong.when in ("until it has said so", "in the middle"):
            _wait_until(odd, lambda: bool(odd.said))
            clock.set(timedelta(0))
            if odd.said and odd.said[0][0] != "published" and "clock" not in odd.said[0][1]:
                outcome.broken.append(f"its clock is wrong, and it says {odd.said[0]}")
        for agent in agents:
            agent.join()
        process.stop()
    conclude(scene, agents, process.left, outcome)
    return outcome


def _wait_until(agent: Agent, there: Callable[[], bool]) -> None:
    while not there() and not agent.ended:
        time.sleep(0.01)


def main() -> None:
    """Take part once, and say how that ended."""
    folder, data, models, session = sys.argv[1:]
    end, words = live(Seat(Path(folder), Path(data), Path(models), session))
    sys.stdout.write(f"{end} {' '.join(words.split())}\n")


if __name__ == "__main__":
    main()
