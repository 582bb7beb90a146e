"""What a plan assumes of the cohort, and what a spec then asks of it: how many clips are measured, and how they are noised.

Promises the very layout, calibration and noise that the session would be sealed with. Leaves what the clips look like to
`guess.py`.

Source: protos/README.md §4.1, §6.3, §8.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from pydantic import PrivateAttr

from vdb_shared.errors import UsageError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.statistic import Layout
from vdb_shared.privacy.calibration import MAX_JOINED
from vdb_shared.privacy.mechanism import NoiseLevel, noise_level
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.spec import Metric, Spec
from vdb_shared.sums import Side

NO_NOISE: Final = NoiseLevel({})


class _Variant(Spec):
    """A spec that is another's but for some sections, under a digest that it is given."""

    _digest: str = PrivateAttr("")

    @property
    def digest(self) -> str:
        """The digest that it was given."""
        return self._digest


def variant(spec: Spec, **sections: object) -> Spec:
    """Return a spec with other sections, but with the digest of the one it was made from.

    What is drawn from a digest, such as which clips two sites make, then stays the same when two sessions are compared.
    """
    return _variant(spec, spec.digest, sections)


def under_digest(spec: Spec, digest: str) -> Spec:
    """Return the same spec under another digest, "sha256:…": with other sketches of covariances, and other draws."""
    return _variant(spec, digest, {})


def _variant(spec: Spec, digest: str, sections: dict[str, object]) -> Spec:
    other = _Variant.model_construct(**{name: getattr(spec, name) for name in type(spec).model_fields} | sections)
    other._digest = digest
    return other


@dataclass(frozen=True, slots=True)
class Assumptions:
    """The assumed cohort.

    Attributes:
        participants: institutions that join.
        dropout: share of them that drop out before their masked input; the number is rounded down.
        records: reference clips of each institution.
        prompts: private prompts of each institution, of which the spec uses its share.
    """

    participants: int
    dropout: Decimal
    records: int
    prompts: int

    @property
    def survivors(self) -> int:
        """Institutions in the sum."""
        return self.participants - math.floor(Fraction(self.dropout) * self.participants)


def assume(
    spec: Spec,
    *,
    participants: int | None = None,
    dropout: Decimal = Decimal(0),
    records: int | None = None,
    prompts: int | None = None,
) -> Assumptions:
    """Return the assumptions of a plan; unless told otherwise, just enough institutions with as many records as admitted.

    Raises:
        UsageError: a number that no session of this spec can have; says which are possible. Or no metric is of clips.
    """
    joined = spec.cohort.minimum if participants is None else participants
    if not spec.cohort.minimum <= joined <= MAX_JOINED:
        raise UsageError(
            f"participants: the spec asks for {spec.cohort.minimum} to {MAX_JOINED} institutions, found {joined}"
        )
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout: expected a share in [0, 1), found {dropout}")
    if not of_clips(spec):
        raise UsageError(
            f"metrics: all of them ({', '.join(of_ratings(spec))}) are of people's ratings, of which a plan knows nothing; add "
            "a metric of clips"
        )
    most = spec.privacy.maximum_records
    clips = most if records is None else records
    words = clips if prompts is None else prompts
    for name, number in (("records", clips), ("prompts", words)):
        if not 1 <= number <= most:
            raise UsageError(f"{name}: the spec's privacy.maximum_records admits 1 to {most}, found {number}")
    return Assumptions(joined, dropout, clips, words)


def of_clips(spec: Spec) -> tuple[Metric, ...]:
    """Return the metrics that a plan speaks of: nobody can guess what people will say of clips."""
    return tuple(metric for metric in spec.metrics if metric.inputs != "ratings")


def of_ratings(spec: Spec) -> tuple[str, ...]:
    """Return the ids of the metrics of people's ratings: they take their share of budget and bytes, and no more is said."""
    return tuple(metric.id for metric in spec.metrics if metric.inputs == "ratings")


@dataclass(frozen=True, slots=True)
class Counts:
    """Clips that are measured, of all survivors together.

    Attributes:
        reference: reference clips; 0 where no metric compares with them.
        public: clips of public prompts, by model; 0 where no metric has public inputs.
        private: clips of private prompts of each model.
    """

    reference: int
    public: Mapping[str, int]
    private: int

    def of(self, side: Side, model: str) -> int:
        """Return how many clips a model has on a side."""
        match side:
            case "reference":
                return self.reference
            case "public":
                return self.public[model]
            case "private":
                return self.private
            case "ratings":
                raise ValueError("people's ratings are no clips")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A session that might be.

    Attributes:
        spec: what is measured.
        assumed: the cohort.
        terms: of the seal.
        counts: clips in the sum.
    """

    spec: Spec
    assumed: Assumptions
    terms: SealTerms
    counts: Counts

    @property
    def layout(self) -> Layout:
        """The lanes."""
        return self.terms.layout

    @property
    def noise(self) -> NoiseLevel:
        """The noise in the sum of the survivors."""
        return noise_level(self.layout, self.terms.calibration, self.assumed.survivors) or NO_NOISE


def scenario_of(spec: Spec, assumed: Assumptions, *, counts: Counts | None = None) -> Scenario:
    """Return what a spec comes to with this cohort.

    Args:
        spec: the spec.
        assumed: the cohort.
        counts: of clips, where they are not those that follow from the two.

    Raises:
        PrivacyError, SpecError: the session could not be sealed; names the field.
        UsageError: more would drop out than the session stands.
    """
    terms = seal_terms(spec, range(assumed.participants))
    if assumed.survivors < terms.smallest_cohort:
        raise UsageError(
            f"dropout: {assumed.survivors} of {assumed.participants} institutions would be left; the session needs "
            f"{terms.smallest_cohort} (cohort.dropout and cohort.collusion)"
        )
    return Scenario(spec, assumed, terms, counts or counts_of(spec, assumed))


def counts_of(spec: Spec, assumed: Assumptions) -> Counts:
    """Return how many clips of each kind the survivors measure, if every clip can be made and measured.

    Public clips of those who drop out are missing: those at the last places are taken to be the ones that do.
    """
    distances = any(definition_of(metric.id).compares_with_reference for metric in spec.metrics)
    inputs = {metric.inputs for metric in spec.metrics}
    return Counts(
        reference=assumed.survivors * assumed.records if distances else 0,
        public={
            model.id: _public(spec, assumed, number) if "public" in inputs else 0
            for number, model in enumerate(spec.models)
        },
        private=assumed.survivors * private_clips(spec, assumed) if "private" in inputs else 0,
    )


def private_clips(spec: Spec, assumed: Assumptions) -> int:
    """Return how many clips of private prompts one institution makes of each model, on average over prompts."""
    used = round(Fraction(spec.generation.private_share) * assumed.prompts)
    return used * spec.generation.samples


def _public(spec: Spec, assumed: Assumptions, number: int) -> int:
    """Return how many of one model's public clips fall to the survivors; task i is made at place i mod participants."""
    clips = len(spec.prompts) * spec.generation.samples
    start, end, sites = number * clips, (number + 1) * clips, assumed.participants

    def before(limit: int) -> int:
        return limit // sites * assumed.survivors + min(limit % sites, assumed.survivors)

    return before(end) - before(start)
