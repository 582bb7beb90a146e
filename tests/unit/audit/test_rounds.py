"""V30 to V34 asked by themselves: rounds, contributions and lists of survivors that are wrong in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from testkit.evidence import but_for, found, golden_evidence, refused, with_result
from testkit.statements import INSTITUTIONS
from vdb_shared.audit.evidence import Evidence, Rounds
from vdb_shared.audit.report import Status
from vdb_shared.bundle.statement import PROFILE_OF, Dropped, NamedDigest
from vdb_shared.canonical import digest_string
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.messages import ConsistencyStatement

OSLO, LYON, FILM, KYOTO, LIMA = INSTITUTIONS
ZERO = "0" * 64


@pytest.fixture
def evidence() -> Evidence:
    """Seat 2, film-studio, dropped out after it had shared its keys."""
    return golden_evidence("dropout")


def with_rounds(evidence: Evidence, **rounds: object) -> Evidence:
    return but_for(evidence, rounds=replace(evidence.rounds, **rounds))  # type: ignore[arg-type]  # one round or more


def with_record(evidence: Evidence, **fields: object) -> Evidence:
    return but_for(evidence, record=replace(evidence.record, **fields))  # type: ignore[arg-type]  # one field or more


def stating(evidence: Evidence, **sets: frozenset[int]) -> Evidence:
    """Return evidence in which the rounds show, and all survivors signed, other sets of seats."""
    statement: ConsistencyStatement = replace(evidence.rounds.masked.statement, **sets)  # type: ignore[arg-type]  # sets of seats
    masked = replace(evidence.rounds.masked, statement=statement)
    signed = replace(evidence.record.survivors, payload=statement.encode())
    return with_record(with_rounds(evidence, masked=masked), survivors=signed)


# V30.


def test_the_rounds_are_counted(evidence: Evidence) -> None:
    assert found("V30", evidence).sentence == (
        "All 14 signed messages of the rounds are genuine, follow from each other, and use fresh keys: 5 institutions "
        "advertised keys, 5 shared them, 4 sent a masked input."
    )


def test_nobody_appears_in_a_round_without_the_one_before(evidence: Evidence) -> None:
    rounds: Rounds = evidence.rounds
    advertised = {seat: keys for seat, keys in rounds.advertised.keys.items() if seat != 2}
    shared = {seat: header for seat, header in rounds.shared.headers.items() if seat != 4}
    for changed in (
        with_rounds(evidence, advertised=replace(rounds.advertised, keys=advertised)),
        with_rounds(evidence, shared=replace(rounds.shared, headers=shared)),
    ):
        assert refused("V30", changed) == (
            "An institution appears in a round without having taken part in the one before."
        )


@pytest.mark.parametrize("name", ["t1", "t2", "t3"])
def test_the_result_names_the_transcript_of_each_round(evidence: Evidence, name: str) -> None:
    honest = getattr(evidence.result, name)
    reason = refused("V30", with_result(evidence, **{name: ZERO}))
    assert reason == f"{name.upper()} of the result: expected {honest}, found {ZERO}."


def test_each_restart_is_told() -> None:
    restarted = golden_evidence("restarted")
    (restart,) = restarted.record.restarts
    again = replace(restart, complaint=restart.complaint)
    one = found("V30", restarted).sentence.partition("anew ")[2].partition(". Which of")[0]
    assert one.startswith(f"without {FILM}, because ")
    twice = with_record(restarted, restarts=(restart, again))
    assert found("V30", twice).sentence.endswith(
        f" Before that, the rounds were started anew {one}, then {one}. Which of them, or the coordinator, was at fault "
        "is not shown."
    )


# V31.


def test_contributions_are_those_of_the_sum(evidence: Evidence) -> None:
    assert found("V31", evidence).sentence == (
        "Each of the 4 institutions in the sum made exactly one contribution, and nobody else did: "
        f"{OSLO}, {LYON}, {KYOTO}, {LIMA}."
    )
    mine = evidence.contributions
    fewer = {name: item for name, item in mine.items() if name not in {OSLO, KYOTO}}
    reason = refused("V31", but_for(evidence, contributions=fewer))
    assert reason == f"{OSLO}, {KYOTO}: a contribution without a masked input, or the reverse."
    reason = refused("V31", but_for(evidence, contributions={**mine, FILM: mine[OSLO]}))
    assert reason == f"{FILM}: a contribution without a masked input, or the reverse."


@pytest.mark.parametrize("seat", [0, 4])
def test_signed_messages_name_contribution_and_masked_input(evidence: Evidence, seat: int) -> None:
    masked, name = evidence.rounds.masked, INSTITUTIONS[seat]
    for field, what, honest in (
        ("contribution", "contribution", evidence.record.contributions[name].payload_digest),
        ("masked_digest", "masked input", evidence.contributions[name].masked_input),
    ):
        other: dict[str, Any] = {field: bytes(32)}
        header = replace(masked.headers[seat], **other)
        changed = with_rounds(evidence, masked=replace(masked, headers={**masked.headers, seat: header}))
        assert refused("V31", changed) == (
            f"{what} named by the signed message of {name}: expected {digest_string(bytes(32))}, found {honest}."
        )


# V32.


def test_a_list_that_all_agree_on_is_counted(evidence: Evidence) -> None:
    assert found("V32", evidence).sentence == (
        "4 of the 4 institutions in the sum signed one and the same list of who is in it, before anything was unmasked; "
        "4 were needed, counted on the 5 that joined."
    )


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        ({"advertised": 3, "shared": 3, "masked": 3}, "3 institutions advertised keys; the seal demands at least 4."),
        ({"shared": 3, "masked": 3}, "3 institutions shared keys; the seal demands at least 4."),
        ({"masked": 3}, "3 institutions are in the sum; the seal demands at least 4."),
    ],
)
def test_no_round_may_have_fewer_than_the_seal_demands(evidence: Evidence, sets: dict[str, int], reason: str) -> None:
    seats = {name: frozenset((0, 1, 3)[:count]) for name, count in sets.items()}
    assert refused("V32", stating(evidence, **seats)) == reason


def test_a_round_may_have_exactly_as_many(evidence: Evidence) -> None:
    four = frozenset((0, 1, 3, 4))
    dropped = (Dropped(institution=FILM, seat=2, stage="joined"),)
    assert (
        found("V32", with_result(stating(evidence, advertised=four, shared=four), dropped=dropped)).status
        is Status.PASS
    )


def test_what_was_signed_is_what_the_transcript_shows(evidence: Evidence) -> None:
    other = replace(evidence.record.survivors, payload=evidence.record.survivors.payload + b" ")
    assert refused("V32", with_record(evidence, survivors=other)) == (
        "The institutions signed another view of the rounds than the transcript shows."
    )


def test_only_who_is_in_the_sum_signs_the_list(evidence: Evidence) -> None:
    signed = evidence.record.survivors
    strange = replace(signed.signatures[0], key_id="f" * 64)
    one = with_record(evidence, survivors=replace(signed, signatures=(*signed.signatures, strange)))
    assert refused("V32", one) == "1 signature by institutions that are not in the sum."
    two = with_record(evidence, survivors=replace(signed, signatures=(*signed.signatures[:3], strange, strange)))
    assert refused("V32", two) == "2 signatures by institutions that are not in the sum."


def test_a_quorum_signs_the_list(evidence: Evidence) -> None:
    signed = evidence.record.survivors
    few = with_record(evidence, survivors=replace(signed, signatures=signed.signatures[:3]))
    assert refused("V32", few) == "3 signatures, but 4 are needed."
    assert found("V32", but_for(few, quorum=3)).sentence.startswith("3 of the 4 institutions in the sum signed")


def test_the_result_lists_who_is_in_the_sum(evidence: Evidence) -> None:
    named = (OSLO, LYON, LIMA, KYOTO)
    assert refused("V32", with_result(evidence, survivors=named)) == (
        f"survivors that the result names: expected {(OSLO, LYON, KYOTO, LIMA)}, found {named}."
    )


@pytest.mark.parametrize(
    "dropped",
    [
        (),
        (Dropped(institution=FILM, seat=2, stage="joined"),),
        (Dropped(institution=FILM, seat=3, stage="shared-keys"),),
        (Dropped(institution=OSLO, seat=2, stage="shared-keys"),),
        (Dropped(institution=FILM, seat=2, stage="shared-keys"),) * 2,
    ],
)
def test_the_result_lists_who_dropped_out_and_when(evidence: Evidence, dropped: tuple[Dropped, ...]) -> None:
    reason = refused("V32", with_result(evidence, dropped=dropped))
    assert reason == "The result misstates who dropped out, or when."


def test_the_stage_is_the_last_that_was_reached(evidence: Evidence) -> None:
    four, five = frozenset((0, 1, 3, 4)), frozenset(range(5))
    for stage, sets in (
        ("shared-keys", {"advertised": five, "shared": five}),
        ("advertised-keys", {"advertised": five, "shared": four}),
        ("joined", {"advertised": four, "shared": four}),
    ):
        dropped = (Dropped(institution=FILM, seat=2, stage=stage),)  # type: ignore[arg-type]  # one of the stages
        assert found("V32", with_result(stating(evidence, **sets), dropped=dropped)).status is Status.PASS
    left_out = golden_evidence("restarted")
    assert left_out.result.dropped[0].stage == "left-out"
    assert found("V32", left_out).status is Status.PASS


# V34.


def declaring(evidence: Evidence, **fields: object) -> Evidence:
    """Return evidence in which lab-kyoto declares something else of its run."""
    mine = evidence.contributions[KYOTO]
    changed = mine.model_copy(update={"manifest": mine.manifest.model_copy(update=fields)})
    return but_for(evidence, contributions={**evidence.contributions, KYOTO: changed})


def agreeing(evidence: Evidence, **generation: object) -> Evidence:
    changed = evidence.spec.generation.model_copy(update=generation)
    return but_for(evidence, spec=evidence.spec.model_copy(update={"generation": changed}))


def test_weights_are_declared_one_for_one(evidence: Evidence) -> None:
    assert found("V34", evidence).sentence == (
        "Every institution in the sum declares that it ran the 2 models and 1 extractor that the spec names, weight for "
        "weight, and made clips of class exact alone."
    )
    for what in ("models", "extractors"):
        first, *others = getattr(evidence.contributions[KYOTO].manifest, what)
        other = NamedDigest(id=first.id, manifest=f"sha256:{ZERO}")
        stranger = NamedDigest(id="stranger", manifest=first.manifest)
        for declared in ((other, *others), (stranger, *others), (first, *others, first), tuple(others)):
            reason = refused("V34", declaring(evidence, **{what: declared}))
            listed = ", ".join(f"{item.id} {item.manifest}" for item in declared)
            assert reason == f"{KYOTO} declares other {what} than the spec: {listed}."
        assert found("V34", declaring(evidence, **{what: (*others, first)})).status is Status.PASS


def test_clips_are_of_the_agreed_profile(evidence: Evidence) -> None:
    assert refused("V34", declaring(evidence, profile="fast")) == (
        f"{KYOTO} declares clips of the profile fast; the spec demands the profile exact."
    )
    one = {f"{PROFILE_OF}tiny-a": "low-memory"}
    assert refused("V34", declaring(evidence, environment=one)) == (
        f"{KYOTO} declares clips of the profile low-memory; the spec demands the profile exact."
    )
    each = {f"{PROFILE_OF}tiny-a": "balanced", f"{PROFILE_OF}tiny-b": "auto"}
    assert refused("V34", declaring(evidence, environment=each)) == (
        f"{KYOTO} declares clips of the profile auto, balanced; the spec demands the profile exact."
    )
    same = {f"{PROFILE_OF}tiny-a": "exact", f"{PROFILE_OF}tiny-b": "exact"}
    assert refused("V34", declaring(evidence, environment=same, profile="fast")) == (
        f"{KYOTO} declares clips of the profile fast; the spec demands the profile exact."
    )


def automatic(evidence: Evidence, grade: str, **profiles: str) -> Evidence:
    """Return evidence of a spec that leaves the profile to each site, and what all declare; lab-kyoto may say otherwise."""
    fitting = {"exact": "exact", "accelerated": "fast"}[grade]
    changed = agreeing(evidence, profile="auto", grade=grade)
    for name, item in changed.contributions.items():
        declared = {"a": fitting, "b": fitting} | (profiles if name == KYOTO else {})
        environment = {f"{PROFILE_OF}tiny-{model}": profile for model, profile in declared.items() if model != "all"}
        fields = {"profile": declared.get("all", "auto"), "environment": environment}
        manifest = item.manifest.model_copy(update=fields)
        mine = {name: item.model_copy(update={"manifest": manifest})}
        changed = but_for(changed, contributions={**changed.contributions, **mine})
    return changed


def test_where_sites_choose_a_profile_it_is_of_the_agreed_class(evidence: Evidence) -> None:
    assert found("V34", automatic(evidence, "exact")).status is Status.PASS
    assert found("V34", automatic(evidence, "exact", all="exact")).status is Status.PASS
    for profile in ("fast", "balanced", "low-memory"):
        assert found("V34", automatic(evidence, "accelerated", a=profile)).status is Status.PASS
        assert refused("V34", automatic(evidence, "exact", b=profile)) == (
            f"{KYOTO} declares clips of the profile {profile}; the spec demands a profile of class exact."
        )
    for model in ("a", "b", "all"):
        assert refused("V34", automatic(evidence, "accelerated", **{model: "exact"})) == (
            f"{KYOTO} declares clips of the profile exact; the spec demands a profile of class accelerated."
        )
    assert refused("V34", automatic(evidence, "accelerated", a="auto")) == (
        f"{KYOTO} declares clips of the profile auto; the spec demands a profile of class accelerated."
    )


def test_no_site_says_that_it_chose_where_the_spec_chose(evidence: Evidence) -> None:
    same = {f"{PROFILE_OF}tiny-a": "exact", f"{PROFILE_OF}tiny-b": "exact"}
    assert refused("V34", declaring(evidence, profile="auto", environment=same)) == (
        f"{KYOTO} declares clips of the profile auto; the spec demands the profile exact."
    )


# V34.commitments.


def test_the_total_is_what_the_survivors_committed_to(evidence: Evidence) -> None:
    total = evidence.record.aggregate.copy()
    total[-1] ^= np.uint64(1)
    blinders = ((evidence.record.blinders[0] + 1) % FIELD_ORDER, *evidence.record.blinders[1:])
    for changed in (
        with_record(evidence, aggregate=total),
        with_record(evidence, blinders=blinders),
        but_for(evidence, survivors=(0, 1, 3)),
    ):
        assert refused("V34.commitments", changed).startswith(
            "The total, the blinders or a commitment is another than the sum demands; which of them, "
        )
