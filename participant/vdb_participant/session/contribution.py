"""From measured sums to the lanes that are masked, and the statement about them.

Promises that private lanes carry noise of their own before they are handed on, and that the statement says what was run and
nothing that depends on private records. Leaves measuring to `measure/`, masking to `rounds.py`, and recording to `agent.py`:
noise cannot be drawn again.

Source: protos/README.md §8.2, §9.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vdb_participant.session.terms import SealedTerms
from vdb_shared.bundle.statement import PROFILE_OF, CheckedClip, Contribution, NamedDigest, RunManifest, Statement
from vdb_shared.canonical import canonical_json, digest_string
from vdb_shared.errors import StatisticError
from vdb_shared.identity import Signer
from vdb_shared.metrics.statistic import LANE_LIMIT, Layout, Statistics
from vdb_shared.privacy.mechanism import encode, uniform_bytes_needed
from vdb_shared.seal import SealTerms
from vdb_shared.spec import Sampler, Spec

Lanes = NDArray[np.int64]
Samplers = Mapping[Sampler, Callable[[int], Lanes]]
"""Samplers of the noise by the name in a spec: count -> samples, (count,), int64."""


def noised_lanes(
    spec: Spec, terms: SealTerms, statistics: Statistics, entropy: Callable[[int], bytes], samplers: Samplers
) -> Lanes:
    """Return the lanes of a site's statistics with its noise, drawn by the sampler that the spec names.

    Args:
        spec: the spec.
        terms: the sealed terms.
        statistics: sums of every block, float64.
        entropy: the operating system's, by number of bytes.
        samplers: of the discrete Gaussian, `noise.samplers.SAMPLERS`; none is called when the session adds no noise.

    Returns:
        (lanes,), int64, in [-2^47, 2^47).

    Raises:
        StatisticError: statistics do not fit, or a lane overflows (noise beyond any that is ever drawn).
    """
    layout, calibration = terms.layout, terms.calibration
    lanes = encode(layout, calibration, statistics, entropy(uniform_bytes_needed(layout, calibration)))
    if calibration.noised:
        private = private_lanes(layout)
        lanes[private] += samplers[spec.privacy.sampler](int(private.sum()))
    if lanes.size and (int(lanes.max()) >= LANE_LIMIT or int(lanes.min()) < -LANE_LIMIT):
        raise StatisticError("a lane overflows with its noise; leave the session and tell the lead")
    return lanes


def private_lanes(layout: Layout) -> NDArray[np.bool_]:
    """Return which lanes carry noise: (lanes,), bool."""
    found = np.zeros(layout.lanes, dtype=np.bool_)
    for block in layout.blocks:
        found[layout.slice_of(block.name)] = block.private
    return found


def run_manifest(
    spec: Spec, measured: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], sample_root: str
) -> RunManifest:
    """Return the manifest of a run, as the contribution statement carries it.

    Args:
        spec: the spec, whose weights were verified before anything was loaded.
        measured: what `measure_site` says about software, machine and the clips that another site makes too.
        samples: JSON forms of the measured clips; only public ones are counted.
        sample_root: what fixes the list of all of them.
    """
    public = [sample for sample in samples if sample["side"] == "public"]
    failed = sum(bool(sample["failure"]) for sample in public)
    environment = {name: str(version) for name, version in measured["versions"].items() if version}
    environment |= {name: str(measured[name]) for name in ("platform", "cuda", "arithmetic") if measured[name]}
    if spec.generation.profile == "auto":
        environment |= {PROFILE_OF + model: profile for model, profile in measured["profiles"].items()}
    environment |= {f"clips made on {device}": str(clips) for device, clips in measured["public_clips"].items()}
    return RunManifest(
        environment=environment,
        models=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.models),
        extractors=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.extractors),
        profile=spec.generation.profile,
        public_clips_made=len(public) - failed,
        public_clips_failed=failed,
        sample_root=sample_root,
        checked=tuple(CheckedClip.model_validate_json(canonical_json(item)) for item in measured["checked"]),
    )


def contribution_statement(
    sealed: SealedTerms, masked_digest: bytes, ledger_entry: str, manifest: RunManifest, signer: Signer
) -> bytes:
    """Return the envelope of the contribution statement.

    Args:
        sealed: the session.
        masked_digest: digest of the masked vector, as the round-2 header carries it.
        ledger_entry: digest of the debit.
        manifest: what was run.
        signer: our statement key.
    """
    opening = sealed.opening
    contribution = Contribution(
        session=opening.session,
        seal=sealed.seal,
        institution=opening.member.institution,
        seat=opening.seat,
        masked_input=digest_string(masked_digest),
        ledger_entry=ledger_entry,
        manifest=manifest,
    )
    return Statement((), contribution).sign(signer).to_json()
