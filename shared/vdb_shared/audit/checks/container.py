"""V01 to V05: the file is one well-formed bundle and holds exactly what its result names.

Source: protos/README.md §10.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vdb_shared.audit.checks.base import Check, Finding, demand, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.bundle.messages import check_messages
from vdb_shared.bundle.record import ADDED, RELEASED, check_names, of_record, subjects_of
from vdb_shared.canonical import parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.seal import MAX_JSON_BYTES
from vdb_shared.wording import counted

_ROSTER_FOLDER: Final = "roster/"
"""TUF metadata; signed over their own canonical form, and read by the TUF library (V10)."""


def _container(evidence: Evidence) -> Finding:
    members = evidence.members
    return passed(
        f"The file is one result bundle of {counted(len(members), 'member')} in its only possible encoding; nothing is "
        "hidden in front of, between or behind them."
    )


def _strict_json(evidence: Evidence) -> Finding:
    """Check names and sizes of all members first: a hostile file is refused before any of it is parsed."""
    documents = {name: data for name, data in evidence.members.items() if name.endswith(".json")}
    for name, data in documents.items():
        demand("V02", len(data) <= MAX_JSON_BYTES, f"{name} has {len(data)} bytes, more than any reader accepts.")
    try:
        check_names(of_record(evidence.members))
    except FormatError:
        return Finding(Status.SKIPPED, "Nothing was read, since the members are not those of a bundle (V03).")
    names = [name for name in documents if not name.startswith(_ROSTER_FOLDER)]
    for name in names:
        try:
            parse_canonical_json(documents[name])
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from error
    return passed(f"{counted(len(names), 'document')} can be read in one way only.")


def _closed_world(evidence: Evidence) -> Finding:
    names = evidence.members.keys()
    check_names(of_record(evidence.members))
    optional = ADDED if evidence.draft else frozenset()
    missing = sorted(RELEASED - names - optional)
    demand("V03", not missing, f"{', '.join(missing)}: this member is missing.")
    listed = [subject.name for subject in evidence.subjects]
    demand("V03", listed == sorted(set(listed)), "The result does not name each member once, in order.")
    difference = sorted(set(listed) ^ {item.name for item in subjects_of(evidence.members)})
    demand(
        "V03", not difference, f"{', '.join(difference)}: either in the bundle or named by the result, but not both."
    )
    if not evidence.full:
        return passed("The bundle holds exactly the members that the signed result names, no more and no fewer.")
    check_messages(evidence.members, _contributors(names), draft=evidence.draft)
    return passed(
        "The bundle holds exactly the members that the signed result names and, in the profile full, what each institution in "
        "the sum sent."
    )


def _contributors(names: Iterable[str]) -> frozenset[str]:
    """Return the institutions of whom there is a contribution, by the names of members."""
    folder, suffix = "contributions/", ".dsse.json"
    return frozenset(name.removeprefix(folder).removesuffix(suffix) for name in names if name.startswith(folder))


def _digests(evidence: Evidence) -> Finding:
    for named, held in zip(evidence.subjects, subjects_of(evidence.members), strict=True):
        demand(
            "V04",
            named.sha256 == held.sha256,
            f"{held.name}: the result names sha256:{named.sha256}, the member has sha256:{held.sha256}.",
        )
    return passed("Every member has the fingerprint that the signed result names; none was edited afterwards.")


def _schemas(evidence: Evidence) -> Finding:
    evidence.spec  # noqa: B018 (reading the property parses the member, after all that belong to the record)
    predicates = [evidence.opening, evidence.seal, *evidence.joins.values(), *evidence.contributions.values()]
    evidence.consistency  # noqa: B018 (reading the property parses the member)
    return passed(
        f"The spec and {counted(len(predicates) + 2, 'statement')} follow the exact formats of this version; nothing in "
        "them is unknown to this reader."
    )


CHECKS: Final = (
    Check(
        "V01",
        "Container",
        "The file is not a result bundle in its one possible encoding: it was damaged, cut short or added to.",
        (),
        _container,
    ),
    Check("V02", "Strict documents", "A document in the bundle could be read in two ways.", ("V01",), _strict_json),
    Check(
        "V03",
        "Closed world",
        "The bundle does not hold exactly the members that its result names.",
        ("V02",),
        _closed_world,
    ),
    Check("V04", "Fingerprints", "A member of the bundle was changed after the result was made.", ("V03",), _digests),
    Check(
        "V05",
        "Formats",
        "A statement in the bundle does not follow the exact format of this version.",
        ("V04",),
        _schemas,
    ),
)
