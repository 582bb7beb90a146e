"""V64: what a third party's time stamp shows of when the result stood in the log.

A stamp says that the log's checkpoint in `result.proof`, with the institutions' signatures, was there at a time: the result is
at least that old. That it is no older than it says nobody can show, and that it is as old as it says only a stamp that was
asked for soon after.

Source: RFC 3161; protos/README.md §9.9, §10.9.
"""

from __future__ import annotations

from typing import Final

from vdb_shared.audit.checks.base import DRAFT, Check, Finding, clock, demand, not_proven, passed
from vdb_shared.audit.evidence import Evidence, moment
from vdb_shared.audit.report import Status
from vdb_shared.bundle.witnessed import check_logged
from vdb_shared.errors import FormatError, SignatureError, UsageError
from vdb_shared.wording import counted

CLOCKS: Final = 300
"""Seconds by which the clocks of coordinator, institutions and authority may differ."""

SOON: Final = 86400
"""Seconds after publication within which a stamp shows that a result is as old as it says."""


def _time_stamp(evidence: Evidence) -> Finding:
    given = evidence.stamp
    if given is None:
        return not_proven(
            "That the result is as old as it says rests on the clocks of coordinator and institutions: no time stamp of a "
            "third party is given. `vdb-audit time-stamp` asks for one, --time-stamp shows it."
        )
    if evidence.draft:
        return DRAFT
    from vdb_shared.transparency.time_stamps import read_roots, read_time_stamp  # noqa: PLC0415 - loads ASN.1, which most audits do without

    proof = evidence.result_proof
    try:
        stamp = read_time_stamp(given.answer, proof.checkpoint, read_roots(given.roots))
    except (FormatError, SignatureError, UsageError) as error:
        return Finding(Status.SKIPPED, f"The time stamp could not be used: {error}.")
    seen = check_logged(proof, evidence.published_entry, evidence.roster, evidence.joins, evidence.quorum)
    published, by = int(moment(evidence.result.published).timestamp()), stamp.at + stamp.accuracy
    who = f"“{stamp.authority}”"
    for whose, at in (("the coordinator", published), ("every institution", min(seen.times.values()))):
        demand(
            "V64",
            at <= by + CLOCKS,
            f"{whose} says that it signed at {clock(at)} or later, but {who} saw what it signed by {clock(by)}.",
        )
    says = f"{who} attests that the result stood in the log, signed as here, by {clock(by)}."
    late = by - published
    if late > SOON + CLOCKS:
        return not_proven(
            f"{says} That is {counted(late // 86400, 'day')} after {clock(published)}, when the coordinator says that it was "
            "published: that it is as old as that is not shown."
        )
    return passed(f"{says} The coordinator gives {clock(published)} as the time of publication.")


STAMPED: Final = Check(
    "V64",
    "Time of publication",
    "The times in the bundle are later than a third party saw it.",
    ("V61",),
    _time_stamp,
)
