"""One institution's agent from its invitation to the published result, as a process that may be killed at any moment.

What `vdb-participant enroll` and `join` do, with real generation and measuring of tiny models, and a diary of every denoising
step that a model really computes. Imported by the server from which lives are forked: what takes long to load is loaded once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal

from torch.nn.modules import module as modules

from testkit.life_spec import EVERY
from vdb_participant.agent import Request, take_part
from vdb_participant.commands.enrolling import enroll
from vdb_participant.data.video import Frames
from vdb_participant.generation import checkpoints
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.progress import Event
from vdb_participant.generation.settings import Clip
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection as Channel
from vdb_participant.session.preparation import Resources
from vdb_participant.site.config import StateFolder
from vdb_participant.site.failpoints import Failpoints, Place
from vdb_participant.site.institution import open_site
from vdb_shared.canonical import sha256_digest

Stage = Literal["enrol", "join", "generate", "measure", "mask", "unmask", "countersign"]

Breach = Literal["none", "forgets"]
"""A way to break an agent's promise, so that a test can see that it is found: its next life knows nothing of the session."""

ENDS: Final[dict[str, Stage]] = {
    "enrolled": "enrol",
    "after-join": "join",
    "generated": "generate",
    "after-measure": "measure",
    "after-masked-input": "mask",
    "after-unmask": "unmask",
    "published": "countersign",
}
"""The stage that each notice ends; the next one begins there."""

_COMPUTED: Final = "WanTimeTextImageEmbedding"
"""Part of a denoiser that is called whenever it computes, and not when a checkpoint is replayed."""


@dataclass(frozen=True)
class Home:
    """Where an institution lives.

    Attributes:
        state: folder of the agent.
        invitation: file from the lead.
        session: file in which the lead writes the session's id, when it is open.
        data, models: as `join` is told them.
        last_model: of the spec.
        breach: what an agent does wrong that is to be found out.
    """

    state: Path
    invitation: Path
    session: Path
    data: Path
    models: Path
    last_model: str
    breach: Breach = "none"


@dataclass
class Diary:
    """What a life generated, a line each, written before it is done: "step <seed> <number>"; and "kept <seed> 0" afterwards."""

    path: Path
    seed: int | None = None
    step: int = 0
    last: int | None = None

    def note(self, what: str, seed: int | None) -> None:
        """Write a line about a clip."""
        with self.path.open("a") as stream:
            stream.write(f"{what} {seed} {self.step}\n")

    def computes(self, part: object, _arguments: object) -> None:
        """A denoiser is about to compute; called by torch for every module."""
        if self.seed is not None and type(part).__name__ == _COMPUTED:
            self.note("step", self.seed)

    @contextlib.contextmanager
    def clip(self, seed: int) -> Iterator[None]:
        """Write about this clip inside the block."""
        self.seed, self.last, self.step = seed, seed, 0
        try:
            yield
        finally:
            self.seed = None


@dataclass(frozen=True)
class Telling(Failpoints):
    """Says which places are passed."""

    notices: Connection | None = field(default=None)

    def reach(self, place: Place) -> None:
        if self.notices is not None:
            self.notices.send(place)


def live(home: Home, diary: Path, notices: Connection) -> None:
    """Enrol if that is still to be done, take part until there is a result, and say how far it came; the process ends then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    written = Diary(diary)
    modules.register_module_forward_pre_hook(written.computes)
    setattr(checkpoints, "Interval", partial(checkpoints.Interval, EVERY, 0.0))  # noqa: B010 - mypy knows it as a class
    if home.breach == "forgets":
        shutil.rmtree(home.state / "sessions", ignore_errors=True)
    setattr(DiffusersGenerator, "generate", _noting(DiffusersGenerator.generate, written))  # noqa: B010 - as above
    state = StateFolder(home.state)
    while not state.config.exists():
        enroll(state, home.invitation, None, wait=False)
        time.sleep(0.1)
    notices.send("enrolled")
    while not home.session.exists():
        time.sleep(0.02)

    def tell(event: Event) -> None:
        written.step = event.step
        if event.kind == "finished":  # told when the clip is in the store
            written.note("kept", written.last)
        if event.kind == "finished" and event.model == home.last_model and event.done == event.total:
            notices.send("generated")

    site = open_site(state, bytes)
    resources = Resources(home.data, home.models, "cpu", tell=tell)
    request = Request(home.session.read_text(), resources, lambda _plan: None, failpoints=Telling(notices=notices))
    with Client(Channel(site.config.address, site.tls, site.egress)) as link:
        outcome = take_part(site, link, request)
    notices.send(f"published {sha256_digest(outcome.bundle.read_bytes())}")


def _noting(generate: Any, diary: Diary) -> Any:
    def noted(self: DiffusersGenerator, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        with diary.clip(seed):
            made: Clip = generate(self, prompt, seed, condition)
            return made

    return noted
