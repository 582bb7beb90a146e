"""Bounds of the formats, by numbers and not by the code's constants: the last value that is accepted, the first that is not."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.fuzzing import seeds
from testkit.golden import golden_session
from vdb_shared.audit.policy import DEFAULT_POLICY, parse_policy
from vdb_shared.audit.report import EXIT_CODES, Verdict
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.logged import PublishedRecord, encode_record, parse_record
from vdb_shared.bundle.record import check_names
from vdb_shared.bundle.signed import message_from_json
from vdb_shared.bundle.statement import (
    Abort,
    Contribution,
    Join,
    Predicate,
    Seal,
    SessionOpen,
    parse_statement,
)
from vdb_shared.canonical import canonical_json, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError, UsageError

KINDS: dict[str, type[Predicate]] = {
    "session-open": SessionOpen,
    "join": Join,
    "seal": Seal,
    "contribution": Contribution,
    "abort": Abort,
}


def read_with(kind: str, field: str, value: Any) -> None:
    """Read a good statement of a kind in which the field at a dotted path is another, in its canonical form."""
    statement = parse_canonical_json(seeds()[f"statement-{kind}"][0])
    holder = statement["predicate"]
    *steps, last = field.split(".")
    for step in steps:
        holder = holder[int(step)] if isinstance(holder, list) else holder[step]
    holder[last] = value
    parse_statement(canonical_json(statement), KINDS[kind])


FLOATS = b"\x00\x00\x80\x3f"  # 1.0
BOUNDS: list[tuple[str, str, Any, Any]] = [
    ("session-open", "software", "x" * 1000, "x" * 1001),
    ("session-open", "nonce", "0" * 64, "0" * 63),
    ("session-open", "nonce", "f" * 64, "0" * 65),
    ("session-open", "nonce", "a" * 64, "A" * 64),
    ("session-open", "nonce", "9" * 64, "0" * 63 + "g"),
    ("session-open", "opened", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00"),
    ("session-open", "opened", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.0Z"),
    ("session-open", "opened", "2026-01-31T12:00:00Z", "2026-01-31 12:00:00Z"),
    ("session-open", "opened", "2026-01-31T12:00:00Z", "x2026-01-31T12:00:00Z"),
    ("session-open", "protocol", "vdb-secagg/1", "vdb-secagg/2"),
    ("join", "seat", 0, -1),
    ("join", "seat", 65534, 65535),
    ("join", "seat", 1, True),
    ("join", "seat", 1, "1"),
    ("seal", "smallest_cohort", 3, 2),
    ("seal", "lanes", 1, 0),
    ("seal", "private_lanes", 0, -1),
    ("seal", "public_tasks", 0, -1),
    ("contribution", "manifest.public_clips_made", 0, -1),
    ("contribution", "manifest.public_clips_failed", 0, -1),
    ("contribution", "manifest.profile", "balanced", "quick"),
    ("contribution", "manifest.environment", {"python": "x" * 1000}, {"python": "x" * 1001}),
    ("contribution", "manifest.checked.0.task", 0, -1),
    ("contribution", "manifest.checked.0.thumbnail", encode_base64(bytes(768)), encode_base64(bytes(769))),
    ("contribution", "manifest.checked.0.thumbnail", encode_base64(bytes(768)), encode_base64(bytes(767))),
    ("contribution", "manifest.checked.0.scores", {"a@1": "0"}, {"a@1": "-0.1"}),
    ("contribution", "manifest.checked.0.scores", {"a@1": "1"}, {"a@1": "1.1"}),
    ("contribution", "manifest.checked.0.scores", {"a@1": "0.5"}, {"a@1": 1}),
    ("contribution", "manifest.checked.0.scores", {"a@1": "0.5"}, {}),
    ("contribution", "manifest.checked.0.vectors", {"a@1": encode_base64(FLOATS)}, {"a@1": ""}),
    ("contribution", "manifest.checked.0.vectors", {"a@1": encode_base64(FLOATS)}, {"a@1": encode_base64(bytes(3))}),
    (
        "contribution",
        "manifest.checked.0.vectors",
        {"a@1": encode_base64(FLOATS * 256)},
        {"a@1": encode_base64(FLOATS * 257)},
    ),
    (
        "contribution",
        "manifest.checked.0.vectors",
        {"a@1": encode_base64(FLOATS)},
        {"a@1": encode_base64(FLOATS + b"\x00\x00\x80\x7f")},
    ),
    ("abort", "stage", "x" * 1000, "x" * 1001),
    ("abort", "reason", "", None),
]


@pytest.mark.parametrize(("kind", "field", "last", "first"), BOUNDS)
def test_the_last_value_is_accepted_and_the_first_beyond_is_not(kind: str, field: str, last: Any, first: Any) -> None:
    read_with(kind, field, last)
    with pytest.raises(FormatError):
        read_with(kind, field, first)


def test_the_last_task_has_24_bits() -> None:
    statement = parse_canonical_json(seeds()["statement-contribution"][0])
    clips = statement["predicate"]["manifest"]["checked"]
    clips[-1]["task"] = 2**24 - 1
    parse_statement(canonical_json(statement), Contribution)
    clips[-1]["task"] = 2**24
    with pytest.raises(FormatError, match="task"):
        parse_statement(canonical_json(statement), Contribution)


def test_a_statement_has_four_mebibytes_at_most() -> None:
    with pytest.raises(FormatError, match="larger than 4194304"):
        parse_statement(b"x" * (4 * 2**20 + 1), Seal)
    with pytest.raises(FormatError, match="not strict JSON"):
        parse_statement(b"x" * (4 * 2**20), Seal)


def test_a_statement_names_its_mistake() -> None:
    with pytest.raises(FormatError, match=r"contribution statement: manifest\.public_clips_made: "):
        read_with("contribution", "manifest.public_clips_made", -1)


def test_names_of_members_have_160_bytes_at_most() -> None:
    longest = "a" * 160
    assert read_archive(write_archive({longest: b""})) == {longest: b""}
    with pytest.raises(FormatError, match="not a name"):
        write_archive({longest + "a": b""})
    head = bytearray(write_archive({longest: b""}))
    head[26] = 161
    with pytest.raises(FormatError, match="long name"):
        read_archive(bytes(head) + bytes(200))


def test_a_bundle_has_16384_members_at_most() -> None:
    members = {f"a{number}": b"" for number in range(16384)}
    assert read_archive(write_archive(members)) == members
    with pytest.raises(FormatError, match="between 1 and 16384 members, not 16385"):
        write_archive(members | {"b": b""})


def test_a_bundle_has_a_gibibyte_at_most() -> None:
    with pytest.raises(FormatError, match="does not begin"):
        read_archive(bytes(2**30))  # never touched, so it costs no memory
    with pytest.raises(FormatError, match="at most 1073741824 bytes, not 1073741825"):
        read_archive(bytes(2**30 + 1))


def test_extra_fields_are_refused_before_anything_is_encoded() -> None:
    data = bytearray(write_archive({"a": b"1"}))
    data[28] = 1
    with pytest.raises(FormatError, match="extra fields"):
        read_archive(bytes(data))


@pytest.mark.parametrize("seat", [0, 65534])
def test_seats_of_messages(seat: int) -> None:
    message = {"body": "AAAA", "seat": seat, "signature": ""}
    assert message_from_json(message)[0] == seat
    for wrong in (-1, 65535, True, "1", None):
        with pytest.raises(FormatError):
            message_from_json(message | {"seat": wrong})


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("roster/root.1.json", True),
        ("roster/root.9999.json", True),
        ("roster/root.10000.json", False),
        ("roster/root.0.json", False),
        ("roster/root.01.json", False),
        ("roster/root.1xjson", False),
        ("joins/" + "a" * 64 + ".dsse.json", True),
        ("joins/" + "a" * 65 + ".dsse.json", False),
        ("joins/-a.dsse.json", False),
        ("joins/a.dsse.jsonx", False),
        ("contributions/a_0.b-c.dsse.json", True),
        ("contribution/a.dsse.json", False),
    ],
)
def test_names_of_members(name: str, known: bool) -> None:
    members = {*golden_session("full").record.members(), name}
    if known:
        check_names(members)
    else:
        with pytest.raises(FormatError, match="no such member"):
            check_names(members)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("minimum_cohort = 3", True),
        ("minimum_cohort = 2", False),
        ("minimum_collusion = 1", True),
        ("minimum_collusion = 0", False),
        ("maximum_delta = 0.999", True),
        ("maximum_delta = 1", False),
        ("maximum_delta = 0", False),
        ("maximum_epsilon = 0.001", True),
        ("maximum_epsilon = 0", False),
        ("#" * 65536, True),
        ("#" * 65537, False),
    ],
)
def test_bounds_of_a_policy(text: str, accepted: bool) -> None:
    if accepted:
        parse_policy(text.encode())
    else:
        with pytest.raises(UsageError):
            parse_policy(text.encode())


def test_what_holds_without_a_policy() -> None:
    assert DEFAULT_POLICY.model_dump(mode="json") == {
        "version": "vdb-audit-policy/1",
        "maximum_epsilon": "16",
        "maximum_delta": "0.0001",
        "minimum_cohort": 3,
        "minimum_collusion": 1,
        "root": None,
    }


def test_a_mistake_in_a_policy_is_told_in_full() -> None:
    with pytest.raises(UsageError) as caught:
        parse_policy(b"minimum_cohort = 2", file="mine.toml")
    known = "version, maximum_epsilon, maximum_delta, minimum_cohort, minimum_collusion, root"
    assert str(caught.value).startswith("mine.toml: minimum_cohort: ")
    assert str(caught.value).endswith(f"; known fields are {known}")


def test_exit_statuses() -> None:
    assert EXIT_CODES == {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCOMPLETE: 3}


@pytest.mark.parametrize(
    ("field", "last", "first"),
    [
        ("survivors", ["a"], []),
        ("survivors", ["a", "b"], ["a", "a"]),
        ("rho", "0", "-0.1"),
        ("rho", None, "NaN"),
        ("rho", "1", 1),
        ("delta", "1e-300", "0"),
        ("delta", "0.999", "1"),
    ],
)
def test_bounds_of_a_record_of_the_log(field: str, last: Any, first: Any) -> None:
    good = parse_canonical_json(seeds()["log-record"][1])
    assert isinstance(parse_record(canonical_json(good | {field: last})), PublishedRecord)
    with pytest.raises(FormatError):
        parse_record(canonical_json(good | {field: first}))


def test_an_entry_of_the_log_has_65535_bytes_at_most() -> None:
    record = parse_record(seeds()["log-record"][1])
    assert isinstance(record, PublishedRecord)
    names = [f"{number:064}" for number in range(1000)]
    long = record.model_copy(update={"survivors": tuple(names)})
    with pytest.raises(FormatError, match="longer than an entry of the log, 65535"):
        encode_record(long)
    short = len(encode_record(record.model_copy(update={"survivors": tuple(names[:900])})))
    padding, last = divmod(65535 - short - 3, 64 + 3)
    fitting = (*names[: 900 + padding], "a" * last)
    assert len(encode_record(record.model_copy(update={"survivors": fitting}))) == 65535
    with pytest.raises(FormatError, match="65536 bytes"):
        encode_record(record.model_copy(update={"survivors": (*fitting[:-1], "a" * (last + 1))}))
