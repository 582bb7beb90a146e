"""Until when and with whom: what a plan says of deadlines, of the hours in which models may run here, and of the others.

Promises moments of the clock beside durations, and numbers of institutions beside shares of them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vdb_participant.session.in_short import hours_left, joining_ends, may_drop_out, measuring_ends, session_ends
from vdb_participant.session.terms import Opening
from vdb_participant.site.policy import PolicyFile
from vdb_shared.canonical import decimal_string
from vdb_shared.wire.enrolment import grouped


def times(opening: Opening, policy: PolicyFile) -> Iterator[str]:
    """Yield the deadlines, and how much of them this site's policy leaves."""
    deadlines = opening.spec.deadlines
    yield (
        f"DEADLINES: {deadlines.joining} s to join, {deadlines.computing} s to generate and measure, {deadlines.round} s for "
        f"each round, {deadlines.countersigning} s to countersign."
    )
    yield (
        f"  Opened {opening.opened.replace('T', ' ').replace('Z', ' UTC')}: joining ends {joining_ends(opening)}, and with "
        f"every deadline used to its end the session ends {session_ends(opening)}."
    )
    yield (
        "  A phase ends as soon as all have done their part. A restart of the rounds, or of the coordinator, adds to these "
        "times, and a result that stands in the log waits for its witnesses as long as that takes."
    )
    if policy.hours:
        begins, ends = datetime.fromisoformat(opening.opened), measuring_ends(opening)
        usable, whole = hours_left(opening, policy.hours), (ends - begins).total_seconds() / 3600
        yield (
            f"  Models run here {policy.hours.words} alone, as policy.toml says: {usable:.1f} of the {whole:.1f} hours until "
            f"clips must be measured at the latest, {ends:%Y-%m-%d %H:%M:%S} UTC."
        )


def people(opening: Opening) -> Iterator[str]:
    """Yield who may take part, and how many of those who join may drop out."""
    cohort, members = opening.spec.cohort, opening.roster.participants
    may = may_drop_out(cohort, len(members))
    yield (
        f"WHO MAY TAKE PART (at least {cohort.minimum} of these {len(members)} must join; a share of "
        f"{decimal_string(cohort.dropout)} of those may then drop out: {may}), with the beginning of each key's fingerprint:"
    )
    for member in members:
        yield f"  {member.institution}  {grouped(member.public_key.key_id)[:19]}"
    yield "  Whoever holds the consortium's roster key decides who is a member: know your partners."
    yield "  Who takes part is published, and so is the result."
