"""What people are told of a session: what goes on in it, how far an institution is, and who was missing when it ended.

Promises one set of words for lead and institutions. The protocol's own names stay where they are looked up or signed: in
records, logs, metrics and JSON. Nothing here is recorded: words are made from a status whenever it is shown, so that sessions
of older versions read the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from vdb_shared.secagg.transcript import Stage
from vdb_shared.wire.status import ROUND_STAGES, Phase, SessionSummary, SiteStatus
from vdb_shared.wording import one_line

MOST_NAMED: Final = 12
"""Institutions that one sentence names."""

_DOING: Final[Mapping[Phase, str]] = {
    Phase.ACCEPTING: "institutions join",
    Phase.ADVERTISING_KEYS: "institutions make and measure their clips, then exchange keys",
    Phase.SHARING_KEYS: "institutions exchange sealed shares of their keys",
    Phase.MASKING_INPUT: "institutions send their masked inputs",
    Phase.CONSISTENCY: "institutions sign whose inputs are in the sum",
    Phase.UNMASKING: "institutions unmask the sum",
    Phase.FINALISING: "institutions check the result and sign it",
    Phase.PUBLISHED: "published",
    Phase.ABORTED: "ended without a result",
}

_REACHED: Final[Mapping[str, str]] = {
    "advertised keys": "sent its keys",
    "shared keys": "sent its sealed shares",
    "signed the survivors": "signed whose inputs are in the sum",
    "revealed shares": "sent what unmasks the sum",
}
"""What an institution did, where the protocol's word for it is not plain."""

_SENT: Final[Mapping[str, str]] = {
    Stage.ADVERTISE_KEYS: "their keys",
    Stage.SHARE_KEYS: "their sealed shares",
    Stage.MASKED_INPUT: "their masked inputs",
    Stage.CONSISTENCY: "their signatures of whose inputs are in the sum",
    Stage.UNMASKING: "what unmasks the sum",
}
"""What institutions send in each round, in the order of the rounds."""

_OF_A_ROUND: Final = re.compile(r"round ([a-z-]+): (.*)", re.DOTALL)
_TOO_FEW: Final = re.compile(
    r"(\d+) of at least (\d+) participants have sent"
    r"|no quorum: (\d+) signed the same view, (\d+) are needed"
    r"|(\d+) revealed shares, (\d+) are needed"
)
_JOINED: Final = re.compile(r"\d+ institutions? joined, .*")
_COUNTERSIGNED: Final = re.compile(r"\d+ institutions? countersigned .*")

_STEPS: Final = ("joined", *ROUND_STAGES)
"""How far an institution is when a round begins that waits for it, and after the last; all else is another's word."""

_SUMMED: Final = frozenset({Phase.FINALISING, Phase.PUBLISHED})
"""Phases in which it is settled whose inputs are in the sum."""


def doing(phase: Phase, attempt: int = 0) -> str:
    """Return what goes on in a session: "institutions exchange keys, attempt 2"."""
    if not attempt or phase.ended:
        return _DOING[phase]
    again = "institutions exchange keys" if phase is Phase.ADVERTISING_KEYS else _DOING[phase]
    return f"{again}, attempt {attempt + 1}"


def listed(summary: SessionSummary) -> str:
    """Return what a list of sessions says of one: "published; the result is withdrawn"."""
    return f"{doing(summary.phase)}; the result is withdrawn" if summary.withdrawn else doing(summary.phase)


def reached(stage: str, phase: Phase | None = None) -> str:
    """Return how far an institution is, from what the coordinator says of it.

    Args:
        stage: what it says.
        phase: of the session, if it is to be said who dropped out: whoever sent no masked input before the sum was unmasked.
    """
    head, comma, rest = stage.partition(",")
    asked = rest.replace(" is to witness the log", " asked to witness the log")
    out = "; dropped out" if phase in _SUMMED and head in _STEPS[:3] else ""
    return f"{_REACHED.get(head, head)}{comma}{asked}{out}"


def ended(reason: str, sites: Sequence[SiteStatus]) -> str:
    """Return why a session ended and, where that is because somebody was missing, who that was.

    Named as missing is for whom was waited; who had left or dropped out before is told apart. Only what is recorded counts:
    what an institution says of itself neither takes it off the list nor stands in it.

    Args:
        reason: as it is recorded.
        sites: how far the institutions were.
    """
    reason = one_line(reason)
    found = _OF_A_ROUND.fullmatch(reason)
    if found is not None and found[1] in _SENT:
        number = list(_SENT).index(found[1])
        few = _TOO_FEW.fullmatch(found[2]) is not None
        who = _who(sites, _STEPS[number : number + 1], _STEPS[:number]) if few else ""
        return f"{_of_a_round(_SENT[found[1]], found[2])}{who}"
    if _JOINED.fullmatch(reason):
        return f"{reason}{_who(sites, ('has not joined',), ())}"
    if _COUNTERSIGNED.fullmatch(reason):
        return f"{reason}{_who(sites, _STEPS[3:], _STEPS[:3])}"
    return reason


def _of_a_round(what: str, why: str) -> str:
    few = _TOO_FEW.fullmatch(why)
    if few is None:
        return f"when institutions sent {what}: {why}"
    found, least = (number for number in few.groups() if number is not None)
    return f"too few institutions sent {what}: {found}, and at least {least} must"


def _who(sites: Sequence[SiteStatus], awaited: Sequence[str], earlier: Sequence[str]) -> str:
    """Return the parts of a sentence that name who was missing, who had left and who had dropped out, or "".

    Args:
        sites: how far the institutions were.
        awaited: stages of those for whom was waited.
        earlier: stages of those for whom nobody waited any more.
    """
    return (
        _named("missing", [site for site in sites if _head(site) in awaited])
        + _named("left", [site for site in sites if _head(site) == "left"])
        + _named("revoked", [site for site in sites if _head(site) == "revoked"])
        + _named("dropped out earlier", [site for site in sites if _head(site) in earlier])
    )


def _named(how: str, sites: Sequence[SiteStatus]) -> str:
    """Return a part of a sentence that names institutions and how far each came, where that is not said, or ""."""
    told = [
        site.institution if _head(site) == how else f"{site.institution} ({reached(_head(site))})"
        for site in sites[:MOST_NAMED]
    ]
    more = f" and {len(sites) - MOST_NAMED} more" if len(sites) > MOST_NAMED else ""
    return f"; {how}: {', '.join(told)}{more}" if told else ""


def _head(site: SiteStatus) -> str:
    """Return how far an institution is as recorded, without what stands beside it."""
    return site.stage.partition(",")[0]
