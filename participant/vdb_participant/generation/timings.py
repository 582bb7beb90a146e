"""How long a clip took in a timing run, and the file that keeps it, so that nothing is timed twice while nothing has changed.

Promises that a figure is given again only for what it was measured on: weights, settings, device, threads, versions. A
damaged file is as good as none, said in the log: its models are timed again. Loads no torch. Leaves timing to `timing.py`.

    DIR/timing.json   {"version", "kept": [{"subject": digest of what was timed, "timing": figures}, …]}, the newest last
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from vdb_participant.site.storage import write_durably
from vdb_shared.canonical import canonical_json, decimal_string, sha256_digest
from vdb_shared.errors import StoreError
from vdb_shared.fields import Digest

MOST_KEPT: Final = 256
"""Timings in the file; older ones are forgotten."""

_LOG = structlog.get_logger("vdb_participant")


class Timing(BaseModel):
    """What a clip takes here, by one that was made to be timed.

    Attributes:
        device: model of the device.
        place: which of them, such as "cuda:0".
        timed: denoising steps that were timed.
        steps: of a whole clip.
        step_seconds: of each step.
        other_seconds: of all else in a clip; nothing of it is known where `whole` is false.
        whole: whether the clip was finished; else the run was stopped after so many steps.
        clip_bytes: of the clip in the store; 0 where it was not finished.
        checkpoint_bytes: of an unfinished clip's checkpoint; 0 where the pipeline has none.
        day: when, as YYYY-MM-DD, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    place: str
    timed: int = Field(ge=1)
    steps: int = Field(ge=1)
    step_seconds: float = Field(ge=0)
    other_seconds: float = Field(ge=0)
    whole: bool
    clip_bytes: int = Field(ge=0)
    checkpoint_bytes: int = Field(ge=0)
    day: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")

    @field_serializer("step_seconds", "other_seconds")
    def _as_decimal(self, value: float) -> str:
        return decimal_string(value)

    @property
    def seconds(self) -> float:
        """Seconds of a clip of all steps."""
        return self.other_seconds + self.steps * self.step_seconds


class KeptTiming(BaseModel):
    """A timing, and the digest of all that its figures depend on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Digest
    timing: Timing


class TimingsFile(BaseModel):
    """timing.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["vdb-timing/1"] = "vdb-timing/1"
    kept: tuple[KeptTiming, ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """The timings of a site.

    Attributes:
        path: of the file.
    """

    path: Path

    def recall(self, subject: Mapping[str, Any]) -> Timing | None:
        """Return what is known of a subject: the JSON of all that its figures depend on."""
        name = sha256_digest(canonical_json(subject))
        return next((item.timing for item in self._read().kept if item.subject == name), None)

    def keep(self, subject: Mapping[str, Any], timing: Timing) -> None:
        """Keep a timing in the place of an earlier one of the same subject.

        Raises:
            StoreError: the file cannot be written.
        """
        mine = KeptTiming(subject=sha256_digest(canonical_json(subject)), timing=timing)
        others = [item for item in self._read().kept if item.subject != mine.subject]
        found = TimingsFile(kept=tuple([*others, mine][-MOST_KEPT:]))
        write_durably(self.path, canonical_json(found.model_dump(mode="json")))

    def _read(self) -> TimingsFile:
        try:
            return TimingsFile.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return TimingsFile()
        except ValidationError:
            _LOG.warning("the file of timings cannot be understood; models are timed again", file=str(self.path))
            return TimingsFile()
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be read ({error.strerror})") from error
