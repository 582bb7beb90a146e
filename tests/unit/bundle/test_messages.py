"""Members of the profile `full`: which there may be, how they are named, and what they hold."""

from __future__ import annotations

import pytest

from vdb_shared.bundle.messages import KeptMessages, check_messages, is_message, read_messages
from vdb_shared.canonical import encode_fields
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed

NAMES = {0: "archive-oslo", 3: "lab-kyoto", 7: "museum-lima"}
KEPT = KeptMessages(
    {seat: bytes([seat]) * 8 for seat in NAMES},
    {0: Signed(b"body of 0", b"signature of 0"), 7: Signed(b"body of 7", b"signature of 7")},
)
MEMBERS = {
    "messages/archive-oslo.masked": bytes(8),
    "messages/lab-kyoto.masked": b"\x03" * 8,
    "messages/museum-lima.masked": b"\x07" * 8,
    "messages/archive-oslo.shares": encode_fields(b"body of 0", b"signature of 0"),
    "messages/museum-lima.shares": encode_fields(b"body of 7", b"signature of 7"),
}
OTHERS = {"metrics.json": b"{}", "message": b"", "countersign.dsse.json": b"{}"}


def test_what_was_kept_is_read_back() -> None:
    assert KEPT.members(NAMES) == MEMBERS
    assert read_messages(MEMBERS | OTHERS, NAMES) == KEPT
    assert b"\x03".hex() * 8 not in repr(KEPT), "vectors and shares do not print"
    assert "body" not in repr(KEPT)


def test_members_are_told_by_their_folder() -> None:
    assert all(is_message(name) for name in MEMBERS)
    assert is_message("messages/")
    assert not any(is_message(name) for name in (*OTHERS, "messages", "x/messages/a.masked"))


def refused(members: set[str], *, draft: bool = False) -> str:
    with pytest.raises(FormatError) as caught:
        check_messages(members, set(NAMES.values()), draft=draft)
    return str(caught.value)


def test_exactly_the_survivors_have_members() -> None:
    check_messages(MEMBERS.keys() | OTHERS.keys(), set(NAMES.values()), draft=False)
    check_messages({name for name in MEMBERS if name.endswith(".masked")}, set(NAMES.values()), draft=False)
    check_messages(OTHERS, set(), draft=True)
    for name in (
        "messages/film-studio.masked",
        "messages/film-studio.shares",
        "messages/lab-kyoto.pairs",
        "messages/lab-kyoto.masked.old",
        "messages/",
        "messages/sub/lab-kyoto.masked",
        "messages/Lab-Kyoto.masked",
    ):
        assert refused(MEMBERS.keys() | {name}) == f"{name}: a bundle has no such member"
    for name in ("archive-oslo", "lab-kyoto", "museum-lima"):
        missing = f"messages/{name}.masked"
        assert refused(MEMBERS.keys() - {missing}) == f"{missing}: this member is missing"


def test_the_first_problem_in_the_order_of_names_is_told() -> None:
    assert refused({"messages/z", "messages/a"}).startswith("messages/a: ")
    assert refused(set()).startswith("messages/archive-oslo.masked: ")


def test_a_draft_has_none_of_them() -> None:
    for name in MEMBERS:
        assert refused({name}, draft=True) == f"{name}: a bundle has no such member"


def test_a_name_may_be_as_long_as_a_name_may_be() -> None:
    for name in ("a", "a" * 64, "0.1_2-3"):
        check_messages({f"messages/{name}.masked"}, {name}, draft=False)
    long = "a" * 65
    with pytest.raises(FormatError):
        check_messages({f"messages/{long}.masked"}, {long}, draft=False)


def test_shares_that_are_not_a_body_and_a_signature_are_named() -> None:
    for data in (b"", encode_fields(b"body"), encode_fields(b"body", b"signature", b"more")):
        with pytest.raises(FormatError, match=r"^messages/archive-oslo\.shares: "):
            read_messages(MEMBERS | {"messages/archive-oslo.shares": data}, NAMES)
    with pytest.raises(FormatError, match=r"^messages/lab-kyoto\.masked: this member is missing$"):
        read_messages({name: data for name, data in MEMBERS.items() if "kyoto" not in name}, NAMES)
