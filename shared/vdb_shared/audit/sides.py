"""Who took part in two results, with how many clips, and what it cost their records: rows of two columns.

Source: protos/README.md §8.3, §9.5, §10.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final

from vdb_shared.audit.leaderboard import ClipClass
from vdb_shared.audit.text import STAGES
from vdb_shared.audit.verified import VerifiedBundle
from vdb_shared.canonical import decimal_string
from vdb_shared.privacy.conversion import epsilon_of_rho

NOTHING: Final = "–"

SIDES: Final[Mapping[str, str]] = {
    "reference": "Reference clips, all institutions",
    "public": "Clips of public prompts, all models",
    "private": "Clips of private prompts, all models",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that both results have: what it is, and what it is there."""

    what: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether it is not the same in both."""
        return self.first != self.second

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"what": self.what, "first": self.first, "second": self.second, "differs": self.differs}


def cohort_rows(first: VerifiedBundle, second: VerifiedBundle) -> tuple[Row, ...]:
    """Return who joined, who is in the sum, who dropped out and when, and how many clips were measured."""
    return tuple(Row(what, of(first), of(second)) for what, of in _cohort())


def _cohort() -> Iterator[tuple[str, Callable[[VerifiedBundle], str]]]:
    yield "Consortium", lambda bundle: bundle.facts.consortium
    yield "Published, as the coordinator states", lambda bundle: bundle.facts.published
    yield "Joined", lambda bundle: _names(bundle.facts.joined)
    yield "In the sum", lambda bundle: _names(bundle.facts.survivors)
    yield "Dropped out", _dropped
    for side, words in SIDES.items():
        yield words, partial(_clips, side)
    yield "Clips", lambda bundle: ClipClass.of(bundle.metrics).words


def _names(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names)}" if names else "nobody"


def _dropped(bundle: VerifiedBundle) -> str:
    return "; ".join(f"{name}, {STAGES[stage]}" for name, stage in bundle.facts.dropped.items()) or "nobody"


def _clips(side: str, bundle: VerifiedBundle) -> str:
    counts = [item for item in bundle.metrics["counts"] if item["side"] == side]
    if not counts:
        return "none asked for"
    made, failed = (sum((Decimal(item[name]) for item in counts), Decimal(0)) for name in ("succeeded", "failed"))
    if any(Decimal(item["noise"]) for item in counts):
        return f"{made:,.0f}, noised"
    return f"{made:,.0f}" + (f", and {failed:,.0f} failed" if failed else "")


PRIVACY: Final[Mapping[str, str]] = {
    "mechanism": "Noise",
    "epsilon_zcdp": "ε of one record, as claimed",
    "epsilon_pld": "ε of one record, the tighter figure",
    "delta": "δ",
    "rho": "ρ of one record",
    "noise_multiplier": "Noise multiplier",
    "clip_norm_squared": "Squared clipping norm of a record",
    "private_lanes": "Numbers that carry noise",
    "maximum_records": "Most records of one institution",
    "smallest_cohort": "Fewest institutions in the sum",
    "collusion": "Of them possibly dishonest",
}
"""Fields of accounting.json, in words."""


def privacy_rows(first: VerifiedBundle, second: VerifiedBundle) -> tuple[Row, ...]:
    """Return what a record's protection rests on in either result."""
    return tuple(
        Row(words, _plain(first.accounting[name]), _plain(second.accounting[name])) for name, words in PRIVACY.items()
    )


def _plain(value: object) -> str:
    return NOTHING if value is None else str(value)


def composed(first: VerifiedBundle, second: VerifiedBundle, common: Sequence[str]) -> tuple[Row, ...]:
    """Return what both results together cost a record of an institution that is in both, by adding ρ; () for one bundle."""
    if not common or first.report.bundle == second.report.bundle:
        return ()
    costs = [bundle.rho for bundle in (first, second)]
    if costs[0] is None or costs[1] is None:
        both = "not protected: a result without noise is among them"
    else:
        rho, delta = costs[0] + costs[1], min(Decimal(bundle.accounting["delta"]) for bundle in (first, second))
        epsilon = decimal_string(epsilon_of_rho(rho, delta))
        both = f"ρ {decimal_string(rho)}, ε {epsilon} at δ {decimal_string(delta)}"
    return (Row(f"Both together, for a record of {', '.join(common)} in both", both, both),)
