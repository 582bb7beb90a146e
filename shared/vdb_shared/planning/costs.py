"""What a session costs besides privacy: bytes, clips and hours of generation.

Promises sizes of round messages as the real encoders give them, for a session in which those who drop out do so before their
masked input, the dearest moment. Leaves transport (protobuf, gRPC, TLS: a few per cent) and the seconds of a clip to whoever
measured them.

Source: protos/README.md §4.2, §4.3, §6.3, §9.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vdb_shared.bundle.record import encode_transcript
from vdb_shared.canonical import canonical_json
from vdb_shared.checked_clips import compared_metrics, compared_vector
from vdb_shared.clips import clip_terms
from vdb_shared.evaluation import Evaluation
from vdb_shared.layout import feature_dimension
from vdb_shared.planning.assumptions import Scenario, private_clips
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.secagg.encoding import LANE_BYTES
from vdb_shared.secagg.field import SCALAR_BYTES
from vdb_shared.secagg.messages import (
    NONCE_BYTES,
    AdvertisedKeys,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
)
from vdb_shared.secagg.parameters import DIGEST_BYTES, blocks_of
from vdb_shared.secagg.sealing import SEALED_BYTES
from vdb_shared.secagg.vectors import COMMITMENT_BYTES, vector_bytes
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_tasks

SIGNATURE_BYTES: Final = 64

_FIXED_BYTES: Final = 13_500
_JOINED_BYTES: Final = 1_800
_STAYING_BYTES: Final = 2_550
_CHECKED_BYTES: Final = 1_320
_CHECKED_LANE_BYTES: Final = 7
"""What statements and the heads of the archive add to a bundle, from bundles of whole sessions: roster, opening, seal and
result; an institution's join; its contribution and countersignature; what it says of a clip that another one makes too, and of
each compared number of it (float32, base64 twice)."""

_SECONDS_IN_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of the rounds and of the result.

    Attributes:
        up, down: of one institution that stays to the end, in all rounds together.
        received, sent: of the coordinator, from and to all of them.
        bundle: of the result, to a few per cent; everybody who countersigns downloads it as well.
    """

    up: int
    down: int
    received: int
    sent: int
    bundle: int


@dataclass(frozen=True, slots=True)
class ModelWork:
    """What one model has to make.

    Attributes:
        model: its id.
        public: clips of public prompts, of all institutions together.
        checked: how many of them another institution makes again.
        private: clips of private prompts of one institution.
        steps: denoising steps of a clip.
        seconds: that a clip takes, or None where nobody said.
    """

    model: str
    public: int
    checked: int
    private: int
    steps: int
    seconds: float | None

    def clips(self, institutions: int) -> int:
        """Return the clips of all institutions."""
        return self.public + self.checked + self.private * institutions


@dataclass(frozen=True, slots=True)
class Work:
    """What all have to make.

    Attributes:
        institutions: that join.
        models: in the spec's order.
    """

    institutions: int
    models: tuple[ModelWork, ...]

    @property
    def clips(self) -> int:
        """Clips in all."""
        return sum(model.clips(self.institutions) for model in self.models)

    @property
    def steps(self) -> int:
        """Denoising steps in all."""
        return sum(model.clips(self.institutions) * model.steps for model in self.models)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Models of which nobody said how long a clip takes."""
        return tuple(model.model for model in self.models if model.seconds is None)

    @property
    def hours(self) -> float | None:
        """Hours of generation of all institutions, or None where a model's are unknown."""
        seconds = [model.clips(self.institutions) * model.seconds for model in self.models if model.seconds is not None]
        return None if self.unknown else sum(seconds) / _SECONDS_IN_HOUR


def work_of(scenario: Scenario, seconds: Mapping[str, float]) -> Work:
    """Return what has to be made, whether or not an institution drops out afterwards.

    Args:
        scenario: the session.
        seconds: of a clip, by model.
    """
    spec, institutions = scenario.spec, scenario.assumed.participants
    inputs = {metric.inputs for metric in spec.metrics}
    public = len(spec.prompts) * spec.generation.samples
    twice = [item.number // public for item in checked_tasks(spec, institutions)]
    return Work(
        institutions,
        tuple(
            ModelWork(
                model=model.id,
                public=public if "public" in inputs else 0,
                checked=twice.count(number),
                private=private_clips(spec, scenario.assumed) if "private" in inputs else 0,
                steps=clip_terms(spec, model).steps,
                seconds=seconds.get(model.id),
            )
            for number, model in enumerate(spec.models)
        ),
    )


def traffic_of(scenario: Scenario, evaluation: Evaluation, accounting: Accounting) -> Traffic:
    """Return the bytes of a session.

    Args:
        scenario: the session.
        evaluation: of it, whose JSON form stands in the bundle.
        accounting: likewise.
    """
    joined, staying, lanes = scenario.assumed.participants, scenario.assumed.survivors, scenario.layout.lanes
    rounds = round_bytes(joined, staying, lanes)
    return Traffic(*rounds, bundle=_bundle_bytes(scenario, _Bodies.of(joined, staying, lanes), evaluation, accounting))


def round_bytes(joined: int, staying: int, lanes: int) -> tuple[int, int, int, int]:
    """Return what one who stays sends and receives in all rounds, and what the coordinator receives and sends.

    Args:
        joined: institutions that share keys.
        staying: how many of them send their masked input, and stay to the end.
        lanes: of the vector.
    """
    bodies, sealed = _Bodies.of(joined, staying, lanes), SEALED_BYTES * (joined - 1)
    first_up, first_down = bodies.advertised + bodies.shared + sealed, joined * bodies.advertised
    up = first_up + bodies.masked + vector_bytes(lanes) + SIGNATURE_BYTES + bodies.unmasking
    down = first_down + joined * bodies.shared + sealed + staying * (bodies.masked + SIGNATURE_BYTES)
    gone = joined - staying
    return up, down, staying * up + gone * first_up, staying * down + gone * first_down


@dataclass(frozen=True, slots=True)
class _Bodies:
    """Sizes of signed messages with their signatures."""

    advertised: int
    shared: int
    masked: int
    unmasking: int

    @classmethod
    def of(cls, joined: int, staying: int, lanes: int) -> _Bodies:
        digest, commitments = bytes(DIGEST_BYTES), bytes(COMMITMENT_BYTES * blocks_of(lanes))
        shares = UnmaskingShares(digest, 0, dict.fromkeys(range(staying), 0), dict.fromkeys(range(staying, joined), 0))
        bodies = (
            AdvertisedKeys(digest, 0, digest, digest, bytes(NONCE_BYTES)),
            SharedKeysHeader(digest, 0, digest, digest, digest),
            MaskedInputHeader(digest, 0, digest, commitments, digest),
            shares,
        )
        return cls(*(len(body.encode()) + SIGNATURE_BYTES for body in bodies))


def _bundle_bytes(scenario: Scenario, bodies: _Bodies, evaluation: Evaluation, accounting: Accounting) -> int:
    joined, staying, lanes = scenario.assumed.participants, scenario.assumed.survivors, scenario.layout.lanes

    def headers(seats: int, size: int) -> dict[int, Signed]:
        return dict.fromkeys(range(seats), Signed(bytes(size - SIGNATURE_BYTES), bytes(SIGNATURE_BYTES)))

    transcript = encode_transcript(
        headers(joined, bodies.advertised), headers(joined, bodies.shared), headers(staying, bodies.masked)
    )
    return (
        len(scenario.spec.canonical())
        + len(transcript)
        + LANE_BYTES * lanes
        + SCALAR_BYTES * blocks_of(lanes)
        + len(canonical_json(evaluation.to_json()))
        + len(canonical_json(accounting.to_json()))
        + _FIXED_BYTES
        + joined * _JOINED_BYTES
        + staying * _STAYING_BYTES
        + 2
        * len(checked_tasks(scenario.spec, joined))
        * (_CHECKED_BYTES + _CHECKED_LANE_BYTES * _compared_numbers(scenario.spec))
    )


def _compared_numbers(spec: Spec) -> int:
    """Return how many numbers two sites compare of each clip that both make."""
    return sum(
        compared_vector(spec, metric, np.zeros(metric.features or feature_dimension(spec, metric))).size
        for metric in compared_metrics(spec)[1]
    )
