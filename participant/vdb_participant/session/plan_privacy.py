"""What a plan says of privacy: first what is promised and booked, each figure once; then how the figures were computed.

Promises that nothing is shown twice with different digits unless it is said which program found which. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Final

from vdb_participant.session.claim import Opinion
from vdb_shared.audit.policy import readers_refuse
from vdb_shared.canonical import decimal_string
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.privacy.calibration import LOCAL_SIGMA
from vdb_shared.spec import Spec
from vdb_shared.wording import counted, one_line

if TYPE_CHECKING:
    from vdb_participant.session.consent import Budget, Holdings

ROUND_UP: Final = Context(prec=3, rounding=ROUND_CEILING)
_ROUND_DOWN: Final = Context(prec=2, rounding=ROUND_FLOOR)

_STRONG: Final = Decimal(1)
_REASONABLE: Final = Decimal(10)
"""Epsilon of what counts as strong, and as reasonable: Ponomareva and others, How to DP-fy ML, JAIR 77 (2023), section 5."""


def costs(spec: Spec, accounting: Accounting, budget: Budget, holdings: Holdings) -> Iterator[str]:
    """Yield what is promised to each record, and what this site books for it."""
    if accounting.rho is None:
        yield "PRIVACY: NONE. This spec adds no noise; it is a test and must not be run on real data."
        return
    yield (
        f"PRIVACY: epsilon {decimal_string(spec.privacy.epsilon)} at delta {decimal_string(spec.privacy.delta)} "
        f"for each record, against the coordinator and up to {counted(spec.cohort.collusion, 'other institution')}."
    )
    yield (
        "  In words: whether one record was used changes the odds of whatever is concluded from the result by a factor of at "
        f"most {_factor(spec.privacy.epsilon)}, but for a chance of {decimal_string(spec.privacy.delta)}. A record is a clip, "
        "a prompt, or both where a line pairs them. It is no person: for whoever is in ten records it is that factor to the "
        "power of ten, at worst."
    )
    yield (
        f"  For comparison: epsilon up to {_STRONG} (a factor of {_factor(_STRONG)}) counts as strong, up to {_REASONABLE} "
        f"({_factor(_REASONABLE)}) as reasonable, and more as weak (Ponomareva and others 2023, of machine learning). The "
        "factor holds for the worst case: an attacker who knows every other record."
    )
    if warning := readers_refuse(spec.privacy.epsilon, spec.privacy.delta):
        yield f"  WARNING: {warning}."
    yield (
        f"  Of one institution at most {counted(spec.privacy.maximum_records, 'record')} may enter, each within bounds that "
        "follow from the metrics."
    )
    if accounting.rho:
        ratio = _ROUND_DOWN.plus((1 / (2 * accounting.rho)).sqrt())
        yield (
            "  Noise is added to every number that private records enter. Its deviation, without the noise of those who may "
            f"collude or drop out, is at least {ratio:f} times the most by which one record can move all these numbers "
            "together."
        )
    yield (
        f"  This session takes rho {decimal_string(budget.cost)} of this site's budget. The budget is kept in rho because that "
        "adds up from session to session, and epsilon does not."
    )
    yield f"  Data set {holdings.dataset}, {counted(holdings.records, 'record')} in all."
    yield (
        f"  Ledger of this site: rho {decimal_string(budget.spent)} of {decimal_string(budget.policy.rho_cap)} spent by "
        f"{_who_counts(budget)}; {decimal_string(budget.left)} would remain."
    )
    yield (
        f"  Together with this session that is epsilon {decimal_string(budget.epsilon)} at delta "
        f"{decimal_string(budget.policy.delta)}; policy.toml allows {decimal_string(budget.policy.epsilon_total)} in all."
    )
    if budget.policy.charge == "overlapping":
        yield (
            "  A video in another encoding, or a prompt in other words, counts as another record; where that may happen, set "
            'charge = "site" in policy.toml and decline until then.'
        )


def figures(spec: Spec, accounting: Accounting, opinions: Sequence[Opinion]) -> Iterator[str]:
    """Yield how the figures were computed, and what each is."""
    if accounting.rho is None:
        return
    if not opinions:
        yield "FIGURES: No private record enters any number: there is nothing for a second program to compute."
        return
    yield (
        f"FIGURES, for whoever computes them again. What counts is the promise above, epsilon "
        f"{decimal_string(spec.privacy.epsilon)}; what the noise costs was computed twice, by two programs of different "
        "makers, and they agree:"
    )
    for opinion in opinions:
        yield from _figure(opinion)
    yield (
        '  "This session" is at most the promise: noise comes in steps, and the next smaller one would break it. "By a closer '
        'estimate" bounds the same cost more sharply; nothing rests on it. "What this site books" is its rho as an epsilon, at '
        "the delta of policy.toml."
    )
    yield (
        f"  Noise drawn here, by the sampler {spec.privacy.sampler}: discrete Gaussian of deviation {LOCAL_SIGMA:,}. That is "
        "in steps of the masked vector's whole numbers, to which what private records add is scaled; how it compares with "
        "what one record can add is said above."
    )


def _figure(opinion: Opinion) -> Iterator[str]:
    claimed, delta = decimal_string(opinion.claimed), decimal_string(opinion.delta)
    if opinion.found is None:
        yield (
            f"    {opinion.subject}: not compared, epsilon {claimed} at delta {delta} is dp-accounting's alone; opacus "
            f"cannot compute it ({one_line(opinion.missing)}), and the promise does not rest on it"
        )
    else:
        yield (
            f"    {opinion.subject}: epsilon {claimed} by dp-accounting, {opinion.found:.6f} by opacus, at delta {delta}"
        )


def _factor(epsilon: Decimal) -> str:
    """Return e to the power of epsilon, rounded up."""
    return f"{ROUND_UP.plus(epsilon.exp()):,f}"


def _who_counts(budget: Budget) -> str:
    number = counted(budget.sessions, "earlier session")
    return f"{number} with overlapping data" if budget.policy.charge == "overlapping" else f"{number}, all of this site"
