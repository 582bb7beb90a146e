"""V40 to V43: the total is plausible, and every published figure follows from it.

Source: protos/README.md §10.8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared.audit.checks.base import Check, Finding, demand, demand_equal, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.figures import accounting_json, metrics_json
from vdb_shared.bundle.record import ACCOUNTING, METRICS
from vdb_shared.canonical import parse_canonical_json
from vdb_shared.layout import count_block
from vdb_shared.metrics.statistic import Block
from vdb_shared.privacy.calibration import LOCAL_SIGMA, NOISE_TAIL, Calibration
from vdb_shared.privacy.conversion import FORMULAS
from vdb_shared.wording import counted

_V40: Final = "V40"


def _plausible(evidence: Evidence) -> Finding:
    layout, calibration = evidence.terms.layout, evidence.terms.calibration
    totals = evidence.totals
    sites, scales = len(evidence.survivors), calibration.block_scales(layout)
    for block in layout.blocks:
        lanes = totals[layout.slice_of(block.name)]
        if block.private:
            _check_reach(block, lanes, scales[block.name], calibration, sites)
        elif block.name.endswith("/count"):
            _check_whole(block, lanes, calibration.public_exponent)
        else:
            side, model, *_ = block.name.split("/")
            clips = totals[layout.slice_of(count_block(side, model))][0]
            _check_exact(
                block, lanes / 2.0**calibration.public_exponent, float(clips) / 2.0**calibration.public_exponent
            )
            if block.name.endswith("/histogram"):
                _check_whole(block, lanes, calibration.public_exponent)
                demand_equal(_V40, f"sum of {block.name}", int(clips), int(lanes.sum()))
    _check_shares(evidence)
    return passed(
        f"The total has the {counted(layout.lanes, 'number')} that the spec implies, each within what {sites} institutions "
        "can add up to; counts are whole, not negative and as declared, and histograms add up to them."
    )


def _check_reach(block: Block, lanes: NDArray[np.int64], scale: float, calibration: Calibration, sites: int) -> None:
    """Check that no lane exceeds what clips and noise can add up to (§8.1)."""
    noise = NOISE_TAIL * LOCAL_SIGMA if calibration.noised else 0
    reach = sites * (math.ceil(scale * calibration.promise.capacity) + 2 + noise)
    largest = max(int(lanes.max()), -int(lanes.min()))
    demand(_V40, largest <= reach, f"a lane of {block.name} holds {largest}, beyond the {reach} that is possible.")


def _check_whole(block: Block, lanes: NDArray[np.int64], exponent: int) -> None:
    demand(_V40, bool((lanes >= 0).all()), f"{block.name}: a count is negative.")
    demand(_V40, not (lanes & ((1 << exponent) - 1)).any(), f"{block.name}: a count is not a whole number.")


def _check_exact(block: Block, values: NDArray[np.float64], clips: float) -> None:
    """Check a public block against the bound on one clip's share, times the number of clips."""
    slack = 1e-6 * (1.0 + clips)
    norm, bound = float(np.linalg.norm(values)), clips * math.sqrt(block.bound_squared)
    demand(
        _V40,
        norm <= bound + slack,
        f"{block.name}: has norm {norm:.6g}, but {clips:.0f} clips reach at most {bound:.6g}.",
    )
    if block.name.endswith("/moments") and block.dims == 2:
        first, second = (float(value) for value in values)
        demand(
            _V40,
            -slack <= second <= first + slack
            and first <= clips + slack
            and first**2 <= clips * second + slack * (1.0 + clips),
            f"{block.name}: no {clips:.0f} scores between 0 and 1 have sum {first:.6g} and sum of squares {second:.6g}.",
        )


def _check_shares(evidence: Evidence) -> None:
    """Check public clips against the survivors' shares of the work, and against what they declare to have made."""
    layout, totals, spec, terms = evidence.terms.layout, evidence.totals, evidence.spec, evidence.terms
    if not any(metric.inputs == "public" for metric in spec.metrics):
        return
    each = len(spec.prompts) * spec.generation.samples
    positions = [terms.position(seat) for seat in evidence.survivors]
    made = failed = 0
    for index, model in enumerate(spec.models):
        lanes = totals[layout.slice_of(count_block("public", model.id))] >> terms.calibration.public_exponent
        made, failed = made + int(lanes[0]), failed + int(lanes[1])
        done, share = int(lanes.sum()), _share(index * each, (index + 1) * each, positions, len(terms.seats))
        demand(_V40, done <= share, f"{model.id}: {done} public clips are counted, the survivors' share is {share}.")
    manifests = [contribution.manifest for contribution in evidence.contributions.values()]
    demand_equal(_V40, "public clips declared", made, sum(item.public_clips_made for item in manifests))
    demand_equal(_V40, "failed public clips declared", failed, sum(item.public_clips_failed for item in manifests))


def _share(first: int, last: int, positions: Sequence[int], sites: int) -> int:
    """Return how many of the tasks first, first + 1, …, last - 1 fall to these positions: task k falls to k mod sites."""
    return sum(max(0, -(-(last - p) // sites)) - max(0, -(-(first - p) // sites)) for p in positions)


def _metrics(evidence: Evidence) -> Finding:
    expected = metrics_json(evidence.spec, evidence.terms, evidence.totals, len(evidence.survivors), evidence.checked)
    demand("V41", evidence.members[METRICS] == expected, _first_difference(expected, evidence.members[METRICS]))
    return passed(
        "Every published figure, interval and rank was computed again from the total, and what is said of clips that were made "
        "twice from the contributions; all is equal to the last digit."
    )


def _accounting(evidence: Evidence) -> Finding:
    spec = evidence.spec
    demand(
        "V42",
        spec.privacy.mechanism != "none",
        "The result is not private: no noise was added. Such sessions exist for tests only.",
    )
    demand_equal("V42", "privacy claimed by the result", True, evidence.result.private)
    expected = accounting_json(evidence.terms, FORMULAS)
    demand("V42", evidence.members[ACCOUNTING] == expected, _first_difference(expected, evidence.members[ACCOUNTING]))
    if evidence.terms.layout.private_lanes == 0:
        return passed("Nothing private entered the result, so it costs no privacy.")
    return passed(
        f"The cost to privacy was computed again: anyone's single record is protected by (ε, δ) = ({spec.privacy.epsilon}, "
        f"{spec.privacy.delta}) differential privacy, whichever {evidence.terms.smallest_cohort} or more institutions "
        f"finished, and even if {spec.cohort.collusion} of them added no noise."
    )


def _first_difference(expected: bytes, found: bytes) -> str:
    """Return where two documents part, with a few characters of each."""
    place = next(
        (i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), min(len(expected), len(found))
    )
    start = max(0, place - 40)

    def cut(data: bytes) -> str:
        return data[start : place + 40].decode("utf-8", "replace")

    return f"near byte {place}: expected …{cut(expected)}…, found …{cut(found)}…"


def _suppression(evidence: Evidence) -> Finding:
    survivors, smallest = len(evidence.survivors), max(evidence.seal.smallest_cohort, evidence.policy.minimum_cohort)
    demand("V43", survivors >= smallest, f"{survivors} institutions are in the sum, at least {smallest} are demanded.")
    results = parse_canonical_json(evidence.members[METRICS])["results"]
    withheld = sum(result["value"] is None for result in results)
    return passed(
        f"{survivors} institutions are in the sum, at least {smallest} are demanded. "
        + (
            f"Of {counted(len(results), 'figure')}, {withheld} would mean nothing and stay unpublished, with the reason."
            if withheld
            else "No figure had to be withheld."
        )
    )


CHECKS: Final = (
    Check(
        _V40, "Plausible total", "The total is not one that honest contributions can add up to.", ("V30",), _plausible
    ),
    Check("V41", "Figures recomputed", "A published figure does not follow from the total.", ("V40",), _metrics),
    Check(
        "V42",
        "Privacy recomputed",
        "The stated cost to privacy does not follow from the agreed parameters.",
        ("V20",),
        _accounting,
    ),
    Check("V43", "Withheld figures", "The sum is over too few institutions.", ("V32", "V41"), _suppression),
)
