"""The vectors of §4.4: two complaints, the attempts that follow, and complaints and records that do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from faults import case, edited, flip, message, resigned
from stories import Keys, Sharing, advertise_all, mask_all, share_all, statement_keys, unmask
from vdb_participant.rounds import complain
from vdb_shared import labels
from vdb_shared.canonical import decode_fields
from vdb_shared.secagg.messages import Signed, encode_seat
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.transcript import chain
from writing import Json, by_seat, entropy, signed_json

STORY: Final = "restart"
SEATS: Final = (0, 1, 2, 3, 4, 5)

COMPLAINTS: Final = ((5, 1), (0, 3))
"""Who complains about whom, attempt by attempt."""

_BY_BOTH: Final = {"coordinator": "seat 5", "reader": "coordinator"}
"""The coordinator blames the complainer; whoever reads a record that the coordinator shows, the coordinator."""

_BY_READER: Final = {"reader": "coordinator"}


@dataclass(frozen=True)
class Attempt:
    """An attempt that ends with a complaint."""

    sharing: Sharing
    restart: Restart
    following: Parameters

    def json(self) -> Json:
        """Return the record and the session of the next attempt."""
        return {
            "record": {
                "advertised": by_seat({seat: signed_json(signed) for seat, signed in self.restart.advertised.items()}),
                "complainer": self.restart.complainer,
                "complaint": signed_json(self.restart.complaint),
            },
            "comment": f"seat {self.restart.complainer} complains about seat {self.restart.dealer}",
            "complained": sorted(self.following.complained),
            "left_out": sorted(self.following.left_out),
            "name": f"restart {len(self.following.left_out)}",
            "session": self.following.session.hex(),
        }


def restart_file() -> Json:
    """Return two attempts that end with complaints, the third to its end, and what is refused on the way."""
    roster = {seat: key.public_key for seat, key in statement_keys(STORY, SEATS).items()}
    known = Parameters(entropy(STORY, "session", size=32), roster, collusion=1, smallest_cohort=4, lanes=5)
    given_up: list[Attempt] = []
    for number, (complainer, dealer) in enumerate(COMPLAINTS):
        sharing = share_all(advertise_all(STORY, known, number), number)
        complaint = complain(sharing.phases[complainer], dealer)
        restart = Restart(sharing.keys.messages, complainer, complaint)
        given_up.append(Attempt(sharing, restart, verify_restart(known, restart, "generator")))
        known = given_up[-1].following
    last = len(COMPLAINTS)
    keys = advertise_all(STORY, known, last)
    sharing = share_all(keys, last)
    masking = mask_all(sharing, last)
    return {
        "attempts": [
            *[
                {
                    "comment": f"attempt {number}: given up in round 2",
                    "keys": attempt.sharing.keys.json(),
                    "sharing": attempt.sharing.brief(),
                }
                for number, attempt in enumerate(given_up)
            ],
            {
                "comment": "attempt 2: without seats 1 and 3; t = 3 of the four who are left, q = 4 as before",
                "keys": keys.json(),
                "masking": masking.json(),
                "sharing": sharing.json(),
                "unmasking": unmask(masking, sorted(keys.phases)).json(),
            },
        ],
        "bad": [*_complaint_faults(given_up[0]), *_record_faults(given_up[0]), _second_complaint(given_up[1])],
        "bad_in_last_attempt": [_returning(keys)],
        "comment": "§4.4: a session of six with c = 1, n_min = q = 4, given up twice; lanes stay, all entropy is fresh",
        "restarts": [attempt.json() for attempt in given_up],
    }


def _complaint_faults(attempt: Attempt) -> list[Json]:
    keys, restart = attempt.sharing.keys, attempt.restart
    body, complainer = restart.complaint.body, restart.complainer

    def of(name: str, comment: str, complaint: Signed) -> Json:
        return case(name, comment, {"complaint": signed_json(complaint)}, _BY_BOTH) | {"attempt": 0}

    def signed(changed: bytes, payload_type: str = labels.TYPE_COMPLAINT) -> Signed:
        return resigned(keys, payload_type, changed, complainer)

    t1 = decode_fields(body)[0]
    return [
        of("complaint_signature", "one bit of the signature", Signed(body, flip(restart.complaint.signature))),
        of("complaint_signed_for_another_round", "as a header of round 2", signed(body, labels.TYPE_MASKED_INPUT)),
        of("complaint_truncated", "the last byte is missing", signed(body[:-1])),
        of("complaint_trailing_bytes", "one byte more", signed(body + b"\0")),
        of("complaint_other_T1", "another transcript", signed(edited(body, {0: flip(t1)}))),
        of("complaint_other_seat", "the body names seat 3 as complainer", signed(edited(body, {1: encode_seat(3)}))),
        of("complaint_about_a_stranger", "seat 9 dealt nothing", signed(edited(body, {2: encode_seat(9)}))),
        of("complaint_about_itself", "seat 5 about seat 5", signed(edited(body, {2: encode_seat(complainer)}))),
    ]


def _record_faults(attempt: Attempt) -> list[Json]:
    keys, messages = attempt.sharing.keys, attempt.sharing.keys.messages

    def of(name: str, comment: str, changed: Mapping[Seat, Signed | None], *, fitting: bool = True) -> Json:
        """Return a case with other round-0 messages; a fitting complaint names the T1 that they give."""
        shown = {seat: signed for seat, signed in (dict(messages) | dict(changed)).items() if signed is not None}
        changes: dict[str, Any] = {
            "advertised": {
                str(seat): None if signed is None else signed_json(signed) for seat, signed in changed.items()
            }
        }
        if fitting:
            t1 = chain(labels.HASH_T1, keys.parameters.session, shown)
            body = edited(attempt.restart.complaint.body, {0: t1})
            changes["complaint"] = signed_json(resigned(keys, labels.TYPE_COMPLAINT, body, attempt.restart.complainer))
        return case(name, comment, changes, _BY_READER) | {"attempt": 0}

    def advertised(seat: Seat, changes: Mapping[int, bytes]) -> Signed:
        return resigned(keys, labels.TYPE_ADVERTISE_KEYS, edited(messages[seat].body, changes), seat)

    repeated = advertised(0, {2: decode_fields(messages[2].body)[2]})
    other = advertised(0, {4: entropy("other nonce", size=32)})
    too_few = case(
        "restart_too_few_left", "n_min = 6: the record holds, and the session ends", {"smallest_cohort": 6}, {}
    )
    foreign = case("restart_of_another_session", "keys of another session", {"session": "00" * 32}, _BY_READER)
    return [
        of("restart_other_keys", "another round-0 message of seat 0: another T1", {0: other}, fitting=False),
        of("restart_unsigned_keys", "seat 0's signature has one bit changed", {0: _unsigned(messages[0])}),
        of("restart_repeated_key", "seat 0 advertises seat 2's channel key", {0: repeated}),
        of("restart_without_dealer", "U1 without the dealer", {1: None}),
        of("restart_without_complainer", "U1 without the complainer", {5: None}),
        of("restart_of_too_few", "U1 of three, n_min = 4", {0: None, 2: None, 3: None}),
        foreign | {"attempt": 0},
        too_few | {"attempt": 0, "error": "SessionAbortedError", "refused_by": {"coordinator": "", "reader": ""}},
    ]


def _unsigned(signed: Signed) -> Signed:
    return Signed(signed.body, flip(signed.signature))


def _second_complaint(attempt: Attempt) -> Json:
    """Return a complaint in attempt 1 of whom attempt 0 was given up for."""
    complaint = complain(attempt.sharing.phases[5], 3)
    changes = {"complainer": 5, "complaint": signed_json(complaint)}
    comment = "seat 5 complains again, in the next attempt, about another"
    return case("complaint_second", comment, changes, _BY_BOTH) | {"attempt": 1}


def _returning(keys: Keys) -> Json:
    open_to_all = replace(keys.parameters, left_out=frozenset())
    back = advertise_all(STORY, open_to_all, attempt=9).messages[1]
    blame = {"coordinator": "seat 1", "seat 0": "coordinator"}
    return case("left_out_dealer_returns", "seat 1 advertises keys in attempt 2", message(back, 1), blame)
