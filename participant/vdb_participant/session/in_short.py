"""The plan in five lines, for whoever reads no further: what leaves, what it costs, what is done here, until when, with whom.

Promises no word that the plan below it does not say at length, and moments of the clock beside durations. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from vdb_participant.session.terms import Opening
from vdb_participant.site.hours import Hours
from vdb_shared.bundle.logged import longest
from vdb_shared.canonical import decimal_string
from vdb_shared.metrics.statistic import Layout
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.secagg.parameters import smallest_cohort
from vdb_shared.secagg.vectors import vector_bytes
from vdb_shared.spec import Cohort
from vdb_shared.tasks import checked_count

HEADING = "IN SHORT:"

_NAMED = 4
"""Institutions that are named; the rest is counted."""


def in_short(
    opening: Opening, layout: Layout, accounting: Accounting, left: str, works: str, endpoints: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the lines.

    Args:
        opening: the session, verified.
        layout: its lanes.
        accounting: its cost, with as many institutions as may join.
        left: what this site's data would have cost in all afterwards, and what may be spent.
        works: what making the clips would take, and when.
        endpoints: addresses of models that run elsewhere.
    """
    spec, members = opening.spec, opening.roster.participants
    names = [member.institution for member in members[:_NAMED]]
    more = f" and {len(members) - len(names)} more" if len(members) > len(names) else ""
    yield HEADING
    shown = (
        f"; small pictures of public clips that are made twice ({checked})" if (checked := checked_count(spec)) else ""
    )
    requests = f"; requests to {', '.join(endpoints)}" if endpoints else ""
    yield (
        f"  Leaves   {vector_bytes(layout.lanes):,} bytes of masked sums, shares of keys and our signed statements{shown}"
        f"{requests}; nothing of one private video or prompt"
    )
    if accounting.rho is None:
        yield "  Costs    no privacy is kept: this spec adds no noise"
    else:
        yield (
            f"  Costs    epsilon {decimal_string(spec.privacy.epsilon)} at delta {decimal_string(spec.privacy.delta)} for "
            f"each record; {left}"
        )
    yield f"  Works    {works}"
    yield f"  Ends     joining at {joining_ends(opening)}, the session by {session_ends(opening)}, if nothing is restarted"
    few = "all" if spec.cohort.minimum == len(members) else f"at least {spec.cohort.minimum} of"
    dropouts = may_drop_out(spec.cohort, len(members))
    yield f"  With     {few} {len(members)} institutions: {', '.join(names)}{more}; {dropouts} who joined may drop out"


def may_drop_out(cohort: Cohort, members: int) -> str:
    """Return how many of the fewest who may join, and of all members, may drop out and leave a result."""
    found = []
    for joined in sorted({cohort.minimum, members}):
        number = max(0, joined - smallest_cohort(joined, cohort.collusion, cohort.dropout))
        found.append(f"{number or 'none'} of {joined}")
    return ", ".join(found)


def joining_ends(opening: Opening) -> str:
    """Return the moment by the coordinator's clock from which nobody can join, UTC; later if the coordinator is restarted."""
    return _after(opening, opening.spec.deadlines.joining)


def measuring_ends(opening: Opening) -> datetime:
    """Return the moment by the coordinator's clock at which clips must have been measured at the latest, UTC."""
    times = opening.spec.deadlines
    return datetime.fromisoformat(opening.opened) + timedelta(seconds=times.joining + times.computing)


def hours_left(opening: Opening, hours: Hours) -> float:
    """Return how many of the hours in which models may run lie between the opening and the end of measuring."""
    return hours.within(datetime.fromisoformat(opening.opened), measuring_ends(opening)).total_seconds() / 3600


def session_ends(opening: Opening) -> str:
    """Return the moment by the coordinator's clock at which the last deadline has passed, UTC, if nothing is restarted."""
    return _after(opening, longest(opening.spec.deadlines))


def _after(opening: Opening, seconds: int) -> str:
    return f"{datetime.fromisoformat(opening.opened) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S} UTC"
