"""What a plan says in words, on the terminal and on its page alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vdb_shared.canonical import decimal_string
from vdb_shared.planning.assumptions import of_ratings
from vdb_shared.planning.plan import Outlook, Plan
from vdb_shared.planning.whatif import Change
from vdb_shared.wording import counted

ABOUT_DIFFERENCES: Final = (
    "Differences from which models are told apart are read off one typical session: they are good to a tenth for scores and "
    "shares and to a third for distances, so between two plans they may rise a little where they should fall."
)

_KILO: Final = 1000.0


def number(value: float | None) -> str:
    """Return a number of four significant digits, or a dash."""
    return "–" if value is None else f"{value:.4g}"


def about(value: float) -> str:
    """Return a number of two significant digits, for what is known no better."""
    return f"{float(f'{value:.1e}'):g}"


def size(count: int) -> str:
    """Return a number of bytes with a unit."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= _KILO and len(units) > 1:
        value, units = value / _KILO, units[1:]
    return f"{value:.3g} {units[0]}"


def ratio_words(change: Change) -> str:
    """Return what becomes of an interval: its length by that of the plan, or its grade where there is none."""
    if change.ratio is None:
        return change.grade
    return f"× {change.ratio:.2f}" + ("" if change.grade in {"exact", "noised"} else f" ({change.grade})")


def what_a_metric_tells(outlook: Outlook) -> str:
    """Return how finely a metric tells models apart, and what it needs where it is withheld."""
    found = outlook.resolution
    none = "" if outlook.need else "No difference that was tried tells two models apart."
    words = (
        f"Models are told apart from a difference of about {about(found.smallest)}; as guessed, "
        f"they fall into {found.ranks} {'group' if found.ranks == 1 else 'groups'}."
        if found.smallest is not None
        else none
    )
    if outlook.noise:
        words += f" Noise in a mean: {number(outlook.noise)}"
        words += "." if outlook.tau is None else f", in a covariance: {number(outlook.tau)}."
    if outlook.need is not None:
        words += " " + _need_words(outlook)
    return words.strip()


def facts(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield headings and words: the cohort, privacy, clips, bytes and hours."""
    terms, accounting = plan.scenario.terms, plan.accounting
    spec, counts, traffic, work = plan.scenario.spec, plan.scenario.counts, plan.traffic, plan.work
    yield "Cohort", _cohort(plan)
    if accounting.rho is None or not accounting.rho:
        yield "Privacy", "no private record enters any number; nothing is noised"
    else:
        yield (
            "Privacy",
            f"epsilon {decimal_string(spec.privacy.epsilon)} at delta {decimal_string(spec.privacy.delta)} for every record is "
            f"promised. The least noise that keeps this costs rho {accounting.rho}: epsilon {accounting.epsilon}, or "
            f"{accounting.epsilon_pld} by a closer estimate (privacy loss distribution), on which nothing rests",
        )
    if rated := of_ratings(spec):
        yield (
            "Of ratings",
            f"{', '.join(rated)}: nothing is foretold of what people will say; their share of the noise and their lanes are "
            "reckoned with, clips that are made because people scored them are not",
        )
    yield "Lanes", f"{terms.layout.lanes}, of them {terms.layout.private_lanes} noised"
    public = min(counts.public.values())
    yield (
        "Clips measured",
        f"{counts.reference} of reference; of each model {public} public and {counts.private} private",
    )
    yield (
        "Clips to make",
        f"{work.clips} in all, {work.clips / work.institutions:.0f} at each institution; {work.steps} denoising steps",
    )
    yield "GPU-hours", _hours(plan)
    yield (
        "Bytes",
        f"each institution sends {size(traffic.up)} and receives {size(traffic.down)} in the rounds; the coordinator receives "
        f"{size(traffic.received)} and sends {size(traffic.sent)}; the result is a bundle of about {size(traffic.bundle)}",
    )
    yield (
        "Computed from",
        f"{plan.effort.sessions} drawn sessions, {plan.effort.evaluated} of them evaluated whole; guesses: "
        f"{', '.join(plan.sources) or 'defaults'}",
    )


def _cohort(plan: Plan) -> str:
    """Return the cohort in words, and in what it is the best that the spec admits."""
    assumed, most = plan.scenario.assumed, plan.scenario.spec.privacy.maximum_records
    words = (
        f"{assumed.participants} institutions, of whom {assumed.survivors} stay (at least "
        f"{plan.scenario.terms.smallest_cohort} must); {assumed.records} reference clips and {assumed.prompts} prompts each"
    )
    best = []
    if assumed.records == most:
        best.append("as many clips as the spec admits (--records)")
    if assumed.prompts == most:
        best.append("as many prompts (--prompts)")
    if assumed.survivors == assumed.participants:
        best.append("nobody drops out (--dropout)")
    return f"{words}. This is the best case: {', '.join(best)}" if best else words


def _hours(plan: Plan) -> str:
    hours, unknown = plan.work.hours, plan.work.unknown
    if hours is None:
        return f"unknown: give --seconds-per-clip MODEL=SECONDS for {', '.join(unknown)}"
    return f"{hours:.3g} in all, {hours / plan.work.institutions:.3g} at each institution"


def _need_words(outlook: Outlook) -> str:
    need = outlook.need
    if need is None or (need.records is None and need.epsilon is None):
        return "Neither more records nor a larger epsilon would make it a value."
    ways = []
    if need.records is not None:
        ways.append(f"{counted(need.records, 'record')} of each institution")
    if need.epsilon is not None:
        ways.append(f"epsilon {decimal_string(need.epsilon)}")
    return f"It would be published as a value from {' or '.join(ways)} on."
