"""What a session's clips would take at this site, found out by running each model for a moment before consent is asked for.

Promises that no model is run whose licence is not accepted, that none is asked which works elsewhere and may cost money or be
sent a prompt, that no private record is touched by it, and that what was timed before is not timed again while nothing
changed. Loads torch. Leaves the run to `generation/timing.py`, the file to `generation/timings.py`, words to `effort.py`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vdb_participant.data.inputs import Inputs
from vdb_participant.device import device_name
from vdb_participant.generation.cluster import Cluster
from vdb_participant.generation.generators import load_generator
from vdb_participant.generation.parallel import parallel_profiles
from vdb_participant.generation.profiles import profiles_of
from vdb_participant.generation.settings import GenerationError, GenerationSettings, settings_of
from vdb_participant.generation.timing import LIMIT_SECONDS, time_model
from vdb_participant.generation.timings import Timing, Timings
from vdb_participant.generation.versions import versions
from vdb_participant.generation.workers import devices_of
from vdb_participant.models import Weights
from vdb_participant.session.effort import Effort, Timed, effort_of
from vdb_participant.session.preparation import Resources
from vdb_shared import __version__
from vdb_shared.clips import clip_terms
from vdb_shared.registry.classes import EXTERNAL
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Model, Spec


@dataclass(frozen=True, slots=True)
class Makers:
    """What makes clips.

    Attributes:
        devices: one for each clip that is made at the same time.
        profiles: of each model, by its id.
        elsewhere: why clips cannot be timed as they will be made; "" where they can.
    """

    devices: tuple[str, ...]
    profiles: Mapping[str, str]
    elsewhere: str = ""


def makers_of(spec: Spec, registry: Registry, resources: Resources, cluster: Cluster | None) -> Makers:
    """Return what would make the clips of a spec.

    Raises:
        UsageError: it cannot work as the spec's profile says.
    """
    if cluster is not None:
        profiles = profiles_of(spec, registry, cluster.devices, cluster.memory)
        return Makers(cluster.devices, profiles, "its clips are made on the Ray cluster, where nothing is timed")
    devices = devices_of(resources.device, resources.workers)
    if resources.together > 1:
        words = f"each clip is made by {resources.together} GPUs together, which is not timed"
        return Makers(devices[:1], parallel_profiles(spec, resources.together, devices), words)
    return Makers(devices, profiles_of(spec, registry, devices))


@dataclass(frozen=True, slots=True)
class TimingRun:
    """All that timing the models of a spec needs.

    Attributes:
        spec: the spec.
        registry: the site's.
        weights: verified, by model.
        makers: what makes clips.
        kept: timings of earlier runs.
        withheld: models that may not be run, each with the reason.
        say: told in a line for people before a clip is made.
    """

    spec: Spec
    registry: Registry
    weights: Mapping[str, Weights]
    makers: Makers
    kept: Timings
    withheld: Mapping[str, str]
    say: Callable[[str], None]

    def effort(self, institutions: int, inputs: Inputs, *, timed: bool) -> Effort:
        """Return the work of the session, after timing what is not known.

        Args:
            institutions: that may join.
            inputs: private records that would be used.
            timed: whether models may be run at all.

        Raises:
            ModelError, UsageError: a model cannot be loaded, or not as its profile says.
            StoreError: the file of timings cannot be read or written.
        """
        found = {model.id: self._timed(model) if timed else "left out (--no-timing)" for model in self.spec.models}
        own = {model.id: len(tuple(_own(self.spec, model, inputs))) for model in self.spec.models}
        terms = {model.id: clip_terms(self.spec, model, self.registry) for model in self.spec.models}
        return effort_of(self.spec, institutions, own, terms, found, len(self.makers.devices))

    def _timed(self, model: Model) -> Timed:
        """Return how long a clip takes, or why it was not timed."""
        if model.pipeline == EXTERNAL:
            return "it runs elsewhere; a clip may cost money or send a prompt out, so none is made before consent"
        if reason := self.withheld.get(model.id) or self.makers.elsewhere:
            return reason
        settings = settings_of(self.spec, self.registry, self.makers.profiles)[model.id]
        subject = self._subject(model, settings)
        known = self.kept.recall(subject)
        if known is not None:
            return known
        self.say(
            f"making one short clip with {model.id} on {self.makers.devices[0]} to estimate the time (loading aside, "
            f"{LIMIT_SECONDS / 60:.0f} minutes at most; nothing leaves)"
        )
        try:
            found = self._run(model, settings)
        except GenerationError as error:
            return f"a clip could not be made: {error}"
        self.kept.keep(subject, found)
        return found

    def _run(self, model: Model, settings: GenerationSettings) -> Timing:
        row, device = self.registry.get(model.id), self.makers.devices[0]
        weights = self.weights[model.id]
        return time_model(settings, lambda few, watch: load_generator(weights, model, few, device, row, watch))

    def _subject(self, model: Model, settings: GenerationSettings) -> dict[str, Any]:
        """Return all that the figures depend on; the row of a model is in its digest where it changes anything."""
        device = self.makers.devices[0]
        return {
            "manifest": model.manifest,
            "pipeline": model.pipeline,
            "settings": settings.to_json(),
            "device": device_name(device),
            "place": device,
            "threads": torch.get_num_threads(),
            "versions": {"vdb": __version__, "python": platform.python_version(), **versions()},
        }


def _own(spec: Spec, model: Model, inputs: Inputs) -> Iterator[object]:
    """Yield what each clip that only this site makes is of: private prompts, and public clips that people scored here."""
    prompts = inputs.captioned if model.start else inputs.prompts
    yield from (prompt for prompt in prompts for _ in range(spec.generation.samples))
    yield from {(score.prompt, score.sample) for score in inputs.ratings.scores if score.model == model.id}
