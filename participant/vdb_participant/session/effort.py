"""What the work of a session would take at this site: time by a timing run, and disk.

Promises that nothing is guessed: a model that was not timed has no hours and says why, and its disk is that of uncompressed
pictures, the most that it can be. Pure. Leaves timing to `generation/timing.py` and the rest of the plan to `consent.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vdb_participant.generation.timings import Timing
from vdb_shared.clips import ClipTerms
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_tasks
from vdb_shared.wording import counted, one_line

_PLURAL: Final = re.compile(r"\b((?:GPU-)?(?:hour|minute|second))s\b")

_HOUR = 3600.0
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")

Timed = Timing | str
"""How long a clip of a model takes, or why that is not known."""


@dataclass(frozen=True, slots=True)
class Clips:
    """How many clips of a model this site would make.

    Attributes:
        expected: if all join that may.
        most: if no more join than must.
    """

    expected: int
    most: int


@dataclass(frozen=True, slots=True)
class ModelEffort:
    """The work of one model.

    Attributes:
        model: its id.
        clips: how many.
        uncompressed: bytes of a clip's pictures.
        timed: how long one takes.
    """

    model: str
    clips: Clips
    uncompressed: int
    timed: Timed


@dataclass(frozen=True, slots=True)
class Effort:
    """The work of all models.

    Attributes:
        models: in the spec's order.
        devices: how many make clips at the same time.
    """

    models: tuple[ModelEffort, ...] = ()
    devices: int = 1

    def lines(self) -> Iterator[str]:
        """Yield what the plan says of it."""
        if not self.models:
            return
        yield "TIME AND DISK of the clips, estimated; measuring them comes on top:"
        for item in self.models:
            yield from _model(item)
        yield from self._hours()
        yield from self._disk()

    def in_short(self) -> str:
        """Return time and the most disk, in one line."""
        if not self.models:
            return "time and disk were not estimated"
        known = self._known()
        hours = f"about {_span(_expected(known), known[0][1])}" if known else "time not known"
        left = (
            f", {len(self.models) - len(known)} of {len(self.models)} models not timed"
            if len(known) < len(self.models)
            else ""
        )
        fewer = ", more if fewer join" if any(item.clips.most > item.clips.expected for item in self.models) else ""
        return f"{hours}{left}{fewer}, and measuring on top; at most {_size(self._most())} of clips on disk"

    def _known(self) -> list[tuple[ModelEffort, Timing]]:
        return [(item, item.timed) for item in self.models if isinstance(item.timed, Timing)]

    def _most(self) -> int:
        return sum(item.uncompressed * item.clips.most for item in self.models)

    def _hours(self) -> Iterator[str]:
        known = self._known()
        if not known:
            yield "  Time: not known, since nothing was timed"
            return
        expected = _expected(known)
        unit, length = _unit(expected, known[0][1])
        few = sum(timed.seconds * item.clips.most for item, timed in known)
        side = (
            f", {_number(expected / self.devices / length)} by the clock on {self.devices}" if self.devices > 1 else ""
        )
        left = len(self.models) - len(known)
        without = f", and what {left} of {len(self.models)} models take on top, which were not timed" if left else ""
        total = f"about {_amount(_number(expected / length), unit)}{side}{without}"
        yield f"  Time: {total}; {_number(few / length)} with the fewest institutions"

    def _disk(self) -> Iterator[str]:
        words = f"at most {_size(self._most())} uncompressed"
        timed = [(item, found) for item, found in self._known() if found.whole]
        if len(timed) == len(self.models):
            kept = sum(found.clip_bytes * item.clips.expected for item, found in timed)
            words = f"about {_size(kept)} as the timed clips were kept, {words}"
        steps = self.devices * max((found.checkpoint_bytes for _, found in timed), default=0)
        under_way = f"; {_size(steps)} meanwhile for clips that are under way" if steps else ""
        yield f"  Disk: {words}{under_way}"


NO_EFFORT: Final = Effort()
"""Says nothing: for plans of programs that do not ask."""


def effort_of(
    spec: Spec,
    institutions: int,
    private: Mapping[str, int],
    terms: Mapping[str, ClipTerms],
    timed: Mapping[str, Timed],
    devices: int,
) -> Effort:
    """Return the work of a session.

    Args:
        spec: of it.
        institutions: that may join.
        private: clips that only this site makes, of private prompts or scored by people, by model.
        terms: of each model's clips.
        timed: how long one of each takes.
        devices: that make clips at the same time.
    """
    public = any(metric.inputs == "public" for metric in spec.metrics)
    models = []
    for number, model in enumerate(spec.models):
        own = terms[model.id]
        clips = _clips(spec, number, institutions if public else 0, private[model.id])
        models.append(ModelEffort(model.id, clips, own.frames * own.height * own.width * 3, timed[model.id]))
    return Effort(tuple(models), devices)


def _clips(spec: Spec, number: int, institutions: int, private: int) -> Clips:
    """Return how many clips of the spec's model of this number are made here; 0 institutions where no public ones are."""
    if not institutions:
        return Clips(private, private)
    each = len(spec.prompts) * spec.generation.samples
    twice = sum(item.number // each == number for item in checked_tasks(spec, spec.cohort.minimum))
    return Clips(
        private + _shared(each, institutions) + _shared(twice, institutions),
        private + _shared(each, spec.cohort.minimum) + twice,
    )


def _expected(known: list[tuple[ModelEffort, Timing]]) -> float:
    """Return the seconds of all clips of models that were timed, if all join that may."""
    return sum(timed.seconds * item.clips.expected for item, timed in known)


def _shared(clips: int, institutions: int) -> int:
    return -(-clips // institutions)


def _model(item: ModelEffort) -> Iterator[str]:
    clips, found = item.clips, item.timed
    if isinstance(found, str):
        count = f"{_clips_words(clips.expected)}, {clips.most:,} with the fewest institutions"
        yield f"  {item.model}: {count}; not timed: {one_line(found)}"
        return
    unit, length = _unit(found.seconds * clips.expected, found)
    expected, most = (_number(found.seconds * count / length) for count in (clips.expected, clips.most))
    yield (
        f"  {item.model}: about {_amount(expected, unit)} for {_clips_words(clips.expected)}, {most} for {clips.most:,} with "
        f"the fewest institutions; {_seconds(found.seconds)} a clip"
    )
    yield f"    {_how(found)}; on {found.device} ({found.place}), {found.day}"


def _how(found: Timing) -> str:
    """Return what was timed and what was extrapolated."""
    each = f"{_seconds(found.step_seconds)} each"
    if not found.whole:
        return (
            f"timed {found.timed} of {found.steps} steps, {each} with all that comes before them, and stopped: the rest is "
            "extrapolated, and what comes after the last step is not known"
        )
    if found.timed == found.steps:
        return f"timed a whole clip of {counted(found.steps, 'step')}"
    left = found.steps - found.timed
    return (
        f"timed {found.timed} of {found.steps} steps, {each}, and {_seconds(found.other_seconds)} before and after them; "
        f"the other {'step is' if left == 1 else f'{left} steps are'} extrapolated"
    )


def _unit(seconds: float, found: Timing) -> tuple[str, float]:
    """Return the unit in which people would say so much work, whose it is, and its seconds."""
    whose = "GPU-" if found.place.startswith("cuda") else ""
    of_whom = "" if whose else " of a processor"
    name, length = next(
        (unit for unit in (("hours", _HOUR), ("minutes", 60.0)) if seconds >= unit[1]), ("seconds", 1.0)
    )
    return f"{whose}{name}{of_whom}", length


def _span(seconds: float, found: Timing) -> str:
    """Return so much work in the unit that people would take."""
    unit, length = _unit(seconds, found)
    return _amount(_number(seconds / length), unit)


def _amount(number: str, unit: str) -> str:
    """Return a number with its unit, of which there is one where the number is shown as 1."""
    return f"{number} {_PLURAL.sub(lambda found: found[1], unit) if number == '1' else unit}"


def _clips_words(number: int) -> str:
    return f"{number:,} {'clip' if number == 1 else 'clips'}"


def _number(value: float) -> str:
    """Return a number with two digits that count, and never an exponent."""
    if value >= 99.5:
        return f"{value:,.0f}"
    return f"{float(f'{value:.2g}'):.6f}".rstrip("0").rstrip(".")


def _seconds(value: float) -> str:
    return f"{_number(value)} s"


def _size(count: float) -> str:
    unit = 0
    while count >= 1024 and unit + 1 < len(_UNITS):
        count, unit = count / 1024, unit + 1
    return f"{_number(count)} {_UNITS[unit]}"
