"""Pipeline classes: what their calls are called, and which clips they can make.

Promises strict parsing of `classes.toml` and one error text for each rule, wherever it is applied: `spec lint` at the
coordinator, generation at a site.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vdb_shared.errors import SpecError

EXTERNAL: Final = "external"
"""Stands in a spec for a model that a command or an endpoint runs."""

Task = Literal["text-to-video", "image-to-video", "video-to-video", "edit"]

TEXT_TO_VIDEO: Final = "text-to-video"

Start = Literal["", "picture", "video"]
"""What a clip starts from besides words: nothing, one picture, or a video of as many frames as the clip has."""

LEAST_FRAMES: Final = 2
"""A clip of one frame is a picture."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""A list of texts in TOML."""

Tasks = Annotated[tuple[Task, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Entry(BaseModel):
    """Base of all registry entries: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", populate_by_name=True)


class Rule(Entry):
    """Numbers a class can make: step*k + offset, at least `least`, at most `most`.

    Attributes:
        least: the smallest; by default offset, or step + offset where that is no video.
        asked: where the library counts otherwise, what its call is given for each k; None is the number itself.
    """

    step: int = Field(ge=1)
    offset: int = Field(default=0, ge=0)
    least: int = Field(default=0, ge=0)
    most: int | None = None
    asked: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_least(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "least" in value:
            return value
        step, offset = value.get("step", 1), value.get("offset", 0)
        return value | {"least": max(LEAST_FRAMES, offset if offset >= LEAST_FRAMES else step + offset)}

    @property
    def words(self) -> str:
        """The rule, such as "4k+1", "2 or more" or "16"."""
        if self.most == self.least:
            return str(self.most)
        if self.step == 1:
            return f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
        rule = f"{self.step}k" + (f"+{self.offset}" if self.offset else "")
        return rule if self.most is None else f"{rule} up to {self.most}"

    def allows(self, number: int) -> bool:
        """Return whether the number can be made."""
        fits = number >= self.least and (number - self.offset) % self.step == 0
        return fits and (self.most is None or number <= self.most)

    def nearest(self, number: int) -> tuple[int, ...]:
        """Return the nearest numbers that can be made: one below and the next, or the only one."""
        below = max(self.least, (number - self.offset) // self.step * self.step + self.offset)
        if self.most is None:
            return below, below + self.step
        below = min(below, (self.most - self.offset) // self.step * self.step + self.offset)
        return (below,) if below + self.step > self.most else (below, below + self.step)

    def argument(self, number: int) -> int:
        """Return what the library's call is given to make so many."""
        return number if self.asked is None else (number - self.offset) // self.step * self.asked


class Cut(Entry):
    """Frames that a pipeline leaves out at the end of its work when a setting of a component has a value."""

    setting: str
    value: str
    frames: int = Field(ge=1)


class Need(Entry):
    """A package that is needed when a setting of a component has a value."""

    setting: str
    value: bool | str
    package: str


class Arguments(Entry):
    """Names of a call's arguments; "" where the call takes none."""

    prompt: str = "prompt"
    negative_prompt: str = "negative_prompt"
    frames: str = "num_frames"
    height: str = "height"
    width: str = "width"
    steps: str = "num_inference_steps"
    guidance: str = "guidance_scale"
    prompt_tokens: str = "max_sequence_length"
    fps: str = ""
    image: str = ""
    video: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the call takes."""
        return tuple(name for name in self.model_dump().values() if name)


class PipelineClass(Entry):
    """What is known of a diffusers pipeline class; see the head of `classes.toml`."""

    tasks: Tasks
    frames: Rule
    multiple: int = Field(ge=1)
    sides: Mapping[Literal["height", "width"], Rule] = Field(default_factory=dict)
    cut: Cut | None = None
    tokens: int = Field(ge=0)
    arguments: Arguments = Arguments()
    fixed: Mapping[str, bool | int | str] = Field(default_factory=dict)
    guider: bool = False
    output: str = "frames"
    sound: str = ""
    rate: str = ""
    denoisers: Annotated[Texts, Field(min_length=1)]
    float32: Texts = ()
    scheduler: str
    noise: bool
    callback: bool = True
    cacheable: bool = False
    packages: Texts = ()
    needs: Need | None = None
    video_list: bool = False
    guardrail: str = ""
    tiled: bool = False
    loads_from: Texts = ()

    @property
    def needs_condition(self) -> bool:
        """Whether a clip cannot be made from words alone."""
        return TEXT_TO_VIDEO not in self.tasks

    def start(self, task: Task) -> Start:
        """Return what a clip starts from in one of its tasks; what is edited is a video where the call takes one."""
        match task:
            case "text-to-video":
                return ""
            case "image-to-video":
                return "picture"
            case "video-to-video":
                return "video"
            case "edit":
                return "video" if self.arguments.video else "picture"


class _ClassesFile(Entry):
    version: Literal["vdb-classes/1"]
    classes: Mapping[str, PipelineClass]


@lru_cache(maxsize=1)
def pipeline_classes() -> Mapping[str, PipelineClass]:
    """Return every class of the registry by its name in diffusers."""
    text = resources.files("vdb_shared").joinpath("registry", "classes.toml").read_text(encoding="utf-8")
    return _ClassesFile.model_validate(tomllib.loads(text)).classes


def known_class(name: str) -> str:
    """Return the name of a pipeline class that the registry knows, or "external".

    Raises:
        ValueError: it knows none of that name; proposes the nearest.
    """
    known = [*pipeline_classes(), EXTERNAL]
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known[:4])} and {len(known) - 4} more"
    raise ValueError(f"{name} is not a pipeline class of the registry; {hint}")


def tasks_of(name: str) -> tuple[Task, ...]:
    """Return what a class can do, first what it does unless told otherwise; an external model takes words only."""
    known = pipeline_classes().get(name)
    if known is None or not known.needs_condition:
        others = [] if known is None else [task for task in known.tasks if task != TEXT_TO_VIDEO]
        return TEXT_TO_VIDEO, *others
    return known.tasks


def known_task(name: str, task: Task) -> Task:
    """Return a task that a class can do.

    Raises:
        ValueError: it cannot; says what it can do.
    """
    able = tasks_of(name)
    if task not in able:
        raise ValueError(f"{name} cannot do {task}; take {' or '.join(able)}")
    return task


def check_frames(name: str, frames: int, *, field: str) -> None:
    """Refuse a number of frames that a class cannot make.

    Args:
        name: of the class.
        frames: what is asked for.
        field: where it was asked.

    Raises:
        SpecError: it cannot; proposes the nearest numbers.
    """
    rule = pipeline_classes()[name].frames
    if not rule.allows(frames):
        problem = f"{frames} frames cannot be made by {name}, which makes {rule.words}; take {_advice(rule, frames)}"
        raise SpecError(problem, field=field)


def check_side(
    name: str, side: Literal["height", "width"], size: int, *, field: str, multiple: int | None = None
) -> None:
    """Refuse a height or width that a class cannot make.

    Args:
        name: of the class.
        side: which.
        size: what is asked for.
        field: where it was asked.
        multiple: what a model needs, where it needs more than its class.

    Raises:
        SpecError: it cannot; proposes the nearest.
    """
    known = pipeline_classes()[name]
    multiple = multiple or known.multiple
    if size % multiple:
        below = max(1, size // multiple) * multiple
        problem = f"{size} is not a multiple of {multiple}, as {name} needs; take {below} or {below + multiple}"
        raise SpecError(problem, field=field)
    rule = known.sides.get(side)
    if rule is not None and not rule.allows(size):
        problem = f"{size} cannot be made by {name}, whose {side} is {rule.words}; take {_advice(rule, size)}"
        raise SpecError(problem, field=field)


def _advice(rule: Rule, number: int) -> str:
    return " or ".join(str(near) for near in rule.nearest(number))
