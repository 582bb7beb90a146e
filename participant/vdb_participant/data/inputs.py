"""Which private records of a data set a spec uses.

Promises that the choice treats every record alone, so that one record more or less changes the sums by one record's share,
and that no more records are used than the accounting counts. A model that starts from a picture or video takes a clip of the
record itself; records without one are no task of it. Loads no torch.

Source: protos/README.md §6.3, §8.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from vdb_participant.data.conditions import can_start
from vdb_participant.data.dataset import CaptionedClip, Dataset
from vdb_participant.data.ratings import NO_RATINGS, Ratings
from vdb_shared.errors import DatasetError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.privacy.record_list import part_of_file
from vdb_shared.spec import Model, Prompt, Spec
from vdb_shared.tasks import ClipTask, select_private_prompts, tasks_for


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is used.

    Attributes:
        prompts: private prompts that clips are made of with words alone.
        clips: reference clips.
        captioned: clips that models start from, with the words that go with them.
        ratings: what people said of clips of the spec; each rater is one record.
        charged: parts of the records that the ledger charges for these inputs.
    """

    prompts: tuple[Prompt, ...]
    clips: tuple[Path, ...]
    captioned: tuple[CaptionedClip, ...] = ()
    ratings: Ratings = NO_RATINGS
    charged: AbstractSet[bytes] = field(default=frozenset(), repr=False)

    def check_charged(self, clip: Path) -> None:
        """Check that a clip that was decoded is the file that the ledger will be charged for.

        Raises:
            DatasetError: it was changed since the data were read.
        """
        try:
            with clip.open("rb") as stream:
                part = part_of_file(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise DatasetError(
                f"{clip}: was there and cannot be read any more ({error.strerror}); join again"
            ) from error
        if part not in self.charged:
            raise DatasetError(f"{clip}: was changed after the data were read, so no account would know it; join again")

    @property
    def conditions(self) -> dict[str, Path]:
        """Files that models start from, by digest."""
        return {item.digest: item.clip for item in self.captioned}

    def tasks(self, spec: Spec, model: Model, frames: int) -> tuple[ClipTask, ...]:
        """Return the private clips of a model.

        Args:
            spec: the spec.
            model: one of its models.
            frames: of its clips. A video that is shorter, or cannot be decoded so far, is no task; were it a failed one, three
                such records in a row would stop the model for all others.
        """
        if not model.start:
            return tasks_for(spec, model, ((prompt.text, "") for prompt in self.prompts))
        usable = (item for item in self.captioned if can_start(item.clip, model.start, frames))
        return tasks_for(spec, model, ((item.prompt.text, item.digest) for item in usable))


def inputs_of(spec: Spec, dataset: Dataset | None) -> Inputs:
    """Return the private records that a spec uses; `dataset` may be None where it uses none.

    Raises:
        DatasetError: the spec needs prompts or clips and there are none, or there are more records than it allows.
    """
    place = str(dataset.directory) if dataset else "no data folder was given"
    prompts: tuple[Prompt, ...] = ()
    clips: tuple[Path, ...] = ()
    captioned: tuple[CaptionedClip, ...] = ()
    if any(metric.inputs == "private" for metric in spec.metrics):
        words_alone = any(not model.start for model in spec.models)
        if words_alone:
            _require(place, "prompts", bool(dataset and dataset.prompts))
            prompts = select_private_prompts(spec, dataset.prompts if dataset else ())
        if any(model.start for model in spec.models):
            _require(place, "prompts with a clip of their own", words_alone or bool(dataset and dataset.captioned))
            found = dataset.captioned if dataset else ()
            captioned = tuple(item for item in found if select_private_prompts(spec, (item.prompt,)))
    if any(definition_of(metric.id).compares_with_reference for metric in spec.metrics):
        _require(place, "clips", bool(dataset and dataset.clips))
        clips = dataset.clips if dataset else ()
    started = {item.clip for item in captioned}
    records = dataset.records if dataset else ()
    ratings = dataset.ratings.used_by(spec) if dataset else NO_RATINGS
    used = sum(record.prompt in prompts or record.clip in clips or record.clip in started for record in records)
    used += len(ratings.raters)
    if used > spec.privacy.maximum_records:
        raise DatasetError(
            f"{place}: {used} records would be used, the spec allows {spec.privacy.maximum_records} of one institution; "
            "remove some, or ask the lead to raise privacy.maximum_records"
        )
    return Inputs(prompts, clips, captioned, ratings, dataset.private.parts if dataset else frozenset())


def _require(place: str, kind: str, found: bool) -> None:
    if not found:
        raise DatasetError(
            f"{place}: the spec needs {kind}, found none that can be used; see `vdb-participant data check`"
        )
