"""Which private records of a data set a spec uses.

Promises that the choice treats every record alone, so that one record more or less changes the sums by one record's share,
and that no more records are used than the accounting counts. Loads no torch.

Source: protos/README.md §6.3, §8.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vdb_participant.data.dataset import Dataset
from vdb_shared.errors import DatasetError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.spec import Prompt, Spec
from vdb_shared.tasks import select_private_prompts


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is used: private prompts to generate from, and reference clips."""

    prompts: tuple[Prompt, ...]
    clips: tuple[Path, ...]


def inputs_of(spec: Spec, dataset: Dataset | None) -> Inputs:
    """Return the private records that a spec uses; `dataset` may be None where it uses none.

    Raises:
        DatasetError: the spec needs prompts or clips and there are none, or there are more records than it allows.
    """
    place = str(dataset.directory) if dataset else "no data folder was given"
    prompts: tuple[Prompt, ...] = ()
    clips: tuple[Path, ...] = ()
    if any(metric.inputs == "private" for metric in spec.metrics):
        _require(place, "prompts", bool(dataset and dataset.prompts))
        prompts = select_private_prompts(spec, dataset.prompts if dataset else ())
    if any(definition_of(metric.id).compares_with_reference for metric in spec.metrics):
        _require(place, "clips", bool(dataset and dataset.clips))
        clips = dataset.clips if dataset else ()
    used = sum(record.prompt in prompts or record.clip in clips for record in (dataset.records if dataset else ()))
    if used > spec.privacy.maximum_records:
        raise DatasetError(
            f"{place}: {used} records would be used, the spec allows {spec.privacy.maximum_records} of one institution; "
            "remove some, or ask the lead to raise privacy.maximum_records"
        )
    return Inputs(prompts, clips)


def _require(place: str, kind: str, found: bool) -> None:
    if not found:
        raise DatasetError(
            f"{place}: the spec needs {kind}, found none that can be used; see `vdb-participant data check`"
        )
