"""V30 to V34: the rounds of secure aggregation, who is in the sum, and that the total is the sum of what they committed to.

Source: protos/README.md §10.7.
"""

from __future__ import annotations

from typing import Final, get_args

from vdb_shared.audit.checks.base import Check, Finding, demand, demand_equal, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.audit.unmasked import MissingSharesError
from vdb_shared.bundle.statement import Dropped, DroppedStage, NamedDigest, RunManifest
from vdb_shared.canonical import digest_string
from vdb_shared.secagg.commitments import commitments_open
from vdb_shared.secagg.messages import ConsistencyStatement
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Profile, Spec, class_of
from vdb_shared.wording import counted


def _transcript(evidence: Evidence) -> Finding:
    rounds = evidence.rounds
    u1, u2, u3 = rounds.advertised.seats, rounds.shared.seats, rounds.masked.seats
    demand("V30", u1 >= u2 >= u3, "An institution appears in a round without having taken part in the one before.")
    for what, expected, found in (
        ("T1 of the result", rounds.advertised.t1.hex(), evidence.result.t1),
        ("T2 of the result", rounds.shared.t2.hex(), evidence.result.t2),
        ("T3 of the result", rounds.masked.statement.t3.hex(), evidence.result.t3),
    ):
        demand_equal("V30", what, expected, found)
    return passed(
        f"All {len(u1) + len(u2) + len(u3)} signed messages of the rounds are genuine, follow from each other, and use fresh "
        f"keys: {len(u1)} institutions advertised keys, {len(u2)} shared them, {len(u3)} sent a masked input."
        + _left_out(evidence)
    )


def _left_out(evidence: Evidence) -> str:
    """Return the sentence about restarts, whose evidence was verified on the way to the rounds, or ""."""
    complaints = [
        f"without {evidence.roster.seated(restart.dealer).institution}, because "
        f"{evidence.roster.seated(restart.complainer).institution} said under its signature that it could not use the key "
        "share which that institution had sealed for it"
        for restart in evidence.record.restarts
    ]
    if not complaints:
        return ""
    return (
        f" Before that, the rounds were started anew {', then '.join(complaints)}. Which of "
        "them, or the coordinator, was at fault is not shown."
    )


def _one_contribution(evidence: Evidence) -> Finding:
    names = [evidence.roster.seated(seat).institution for seat in evidence.survivors]
    difference = sorted(set(names) ^ evidence.contributions.keys())
    demand("V31", not difference, f"{', '.join(difference)}: a contribution without a masked input, or the reverse.")
    headers = evidence.rounds.masked.headers
    for seat, name in zip(evidence.survivors, names, strict=True):
        for what, expected, found in (
            (
                "contribution",
                digest_string(headers[seat].contribution),
                evidence.record.contributions[name].payload_digest,
            ),
            ("masked input", digest_string(headers[seat].masked_digest), evidence.contributions[name].masked_input),
        ):
            demand_equal("V31", f"{what} named by the signed message of {name}", expected, found)
    return passed(
        f"Each of the {len(names)} institutions in the sum made exactly one contribution, and nobody else did: "
        f"{', '.join(names)}."
    )


def _survivors(evidence: Evidence) -> Finding:
    statement, signatures = evidence.rounds.masked.statement, evidence.record.survivors.signatures
    smallest = evidence.seal.smallest_cohort
    for name, seats in (
        ("advertised keys", statement.advertised),
        ("shared keys", statement.shared),
        ("are in the sum", statement.masked),
    ):
        demand(
            "V32", len(seats) >= smallest, f"{len(seats)} institutions {name}; the seal demands at least {smallest}."
        )
    demand(
        "V32",
        evidence.record.survivors.payload == statement.encode(),
        "The institutions signed another view of the rounds than the transcript shows.",
    )
    keys = {evidence.roster.seated(seat).public_key.key_id for seat in statement.masked}
    strangers = sum(item.key_id not in keys for item in signatures)
    demand("V32", strangers == 0, f"{counted(strangers, 'signature')} by institutions that are not in the sum.")
    demand(
        "V32", len(signatures) >= evidence.quorum, f"{len(signatures)} signatures, but {evidence.quorum} are needed."
    )
    _check_lists(evidence, statement)
    return passed(
        f"{len(signatures)} of the {len(statement.masked)} institutions in the sum signed one and the same list of who is in "
        f"it, before anything was unmasked; {evidence.quorum} were needed, counted on the {len(evidence.seal.joins)} that "
        "joined."
    )


def _check_lists(evidence: Evidence, statement: ConsistencyStatement) -> None:
    """Check the result's lists of survivors and dropouts, both in the order of seats."""
    survivors = tuple(evidence.roster.seated(seat).institution for seat in evidence.survivors)
    demand_equal("V32", "survivors that the result names", survivors, evidence.result.survivors)
    dropped = tuple(
        Dropped(institution=join.institution, seat=join.seat, stage=_stage(evidence, statement, join.seat))
        for join in evidence.seal.joins
        if join.seat not in evidence.survivors
    )
    demand("V32", dropped == evidence.result.dropped, "The result misstates who dropped out, or when.")


def _stage(evidence: Evidence, statement: ConsistencyStatement, seat: Seat) -> DroppedStage:
    """Return why a seat is not in the sum, read off the replayed rounds."""
    if seat in evidence.parameters.left_out:
        return "left-out"
    if seat in statement.shared:
        return "shared-keys"
    return "advertised-keys" if seat in statement.advertised else "joined"


def _unmasking(evidence: Evidence) -> Finding:
    if evidence.full:
        return _replayed(evidence)
    return not_proven(
        "That the masks were removed as the protocol says cannot be replayed from this bundle, because the messages that this "
        "takes would give every reader the coordinator's view. The outcome does not rest on it: that the published total is "
        "the sum of what the institutions committed to is the check V34.commitments."
    )


def _replayed(evidence: Evidence) -> Finding:
    try:
        replayed = evidence.replayed
    except MissingSharesError as error:
        return Finding(
            Status.SKIPPED,
            f"Unmasking could not be played again: {error}. Shares may have been taken out of this file, since nothing signed "
            "says how many there were; ask for the whole one.",
        )
    demand(
        "V33",
        replayed.gives(evidence.aggregate, evidence.record.blinders),
        "The messages give another total than the one that was published. All of them bear the signatures of those who sent "
        "them, so the coordinator published a total that it did not receive.",
    )
    left_out = f" {counted(len(replayed.left_out), 'wrong share')} had to be left out." if replayed.left_out else ""
    return passed(
        f"Unmasking was played again: the masked vectors of {counted(len(evidence.survivors), 'institution')} and the shares "
        f"that {len(replayed.signers)} of them revealed give the published total, lane for lane.{left_out}"
    )


def _declared(evidence: Evidence) -> Finding:
    spec = evidence.spec
    models = {model.id: model.manifest for model in spec.models}
    extractors = {extractor.id: extractor.manifest for extractor in spec.extractors}
    for name, contribution in evidence.contributions.items():
        for what, agreed, declared in (
            ("models", models, contribution.manifest.models),
            ("extractors", extractors, contribution.manifest.extractors),
        ):
            demand(
                "V34",
                _same_weights(agreed, declared),
                f"{name} declares other {what} than the spec: {', '.join(f'{item.id} {item.manifest}' for item in declared)}.",
            )
        _check_profiles(name, contribution.manifest, spec)
    return passed(
        f"Every institution in the sum declares that it ran the {counted(len(models), 'model')} and "
        f"{counted(len(extractors), 'extractor')} that the spec names, weight for weight, and made clips of class "
        f"{spec.generation.clip_class} alone."
    )


def _check_profiles(name: str, manifest: RunManifest, spec: Spec) -> None:
    """Check that an institution's clips are of the spec's profile or, where that is "auto", of its class."""
    agreed, clip_class = spec.generation.profile, spec.generation.clip_class
    declared = {manifest.profile_of(model.id) for model in spec.models}
    if not agreed == manifest.profile == "auto":
        declared.add(manifest.profile)
    if agreed == "auto":
        fitting = {profile for profile in get_args(Profile) if profile != "auto" and class_of(profile) == clip_class}
        wanted = f"a profile of class {clip_class}"
    else:
        fitting, wanted = {agreed}, f"the profile {agreed}"
    wrong = sorted(declared - fitting)
    demand("V34", not wrong, f"{name} declares clips of the profile {', '.join(wrong)}; the spec demands {wanted}.")


def _same_weights(agreed: dict[str, str], declared: tuple[NamedDigest, ...]) -> bool:
    return len(declared) == len(agreed) and {item.id: item.manifest for item in declared} == agreed


def _commitments(evidence: Evidence) -> Finding:
    headers = evidence.rounds.masked.headers
    signed = [headers[seat].commitments for seat in evidence.survivors]
    opens = commitments_open(signed, evidence.aggregate, evidence.record.blinders)
    demand("V34.commitments", opens, "" if opens else _who_differs(evidence, signed))
    return passed(
        f"The published total is the sum of exactly the {len(signed)} vectors to which the institutions committed in their "
        "signed messages: the commitments of all survivors open to the published total and blinders. Neither the "
        "coordinator nor anybody else altered it afterwards; the single vectors stay hidden."
    )


def _who_differs(evidence: Evidence, signed: list[bytes]) -> str:
    """Return why commitments do not open, as far as the bundle shows whose doing it is."""
    if not evidence.full:
        return (
            "The total, the blinders or a commitment is another than the sum demands; which of them, a public bundle cannot "
            "show. The profile full can."
        )
    replayed = evidence.replayed
    same = replayed.gives(evidence.aggregate, evidence.record.blinders)
    if not same and commitments_open(signed, replayed.lanes, replayed.blinders):
        return "The coordinator lied: the total that the messages give opens the commitments, and it published another one."
    names = ", ".join(evidence.roster.seated(seat).institution for seat in evidence.survivors)
    also = "" if same else " Besides, the coordinator published another total than the messages give (V33)."
    return (
        "A commitment does not match: the total that the messages give does not open the commitments, so at least one of "
        f"{names} masked another vector than it committed to. Which of them, the messages cannot show without opening single "
        f"vectors.{also}"
    )


CHECKS: Final = (
    Check(
        "V30",
        "Transcript",
        "The messages of the rounds do not form a legal run of the protocol.",
        ("V12", "V20"),
        _transcript,
    ),
    Check(
        "V31",
        "One contribution each",
        "The contributions are not one for each institution in the sum.",
        ("V30",),
        _one_contribution,
    ),
    Check(
        "V32",
        "One list of survivors",
        "Too few institutions agreed, before unmasking, on who is in the sum.",
        ("V30",),
        _survivors,
    ),
    Check(
        "V33",
        "Unmasking replayed",
        "The published total does not follow from the messages.",
        (),
        _unmasking,
        full_needs=("V30", "V31", "V32"),
    ),
    Check(
        "V34",
        "Declared weights and profile",
        "An institution declares other models or extractors than the spec names, or clips of another profile or class.",
        ("V30",),
        _declared,
    ),
    Check(
        "V34.commitments",
        "Total is the sum",
        "The published total is not the sum of what the institutions committed to.",
        ("V30", "V31", "V32"),
        _commitments,
    ),
)
