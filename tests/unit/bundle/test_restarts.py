"""The member that holds the records of restarts has one form for each list of them."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.bundles import small_session
from testkit.fates import Fate
from vdb_shared.bundle.restarts import decode_restarts, encode_restarts
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.secagg.restarts import Restart


@pytest.fixture(scope="module")
def restart() -> Restart:
    (restart,) = small_session(fate=Fate.ACCUSED).record.restarts
    return restart


def document(restart: Restart) -> Any:
    return parse_canonical_json(encode_restarts([restart]))


def test_reads_what_it_writes(restart: Restart) -> None:
    assert decode_restarts(encode_restarts([restart, restart])) == (restart, restart)


def test_no_restarts_are_an_empty_list() -> None:
    assert encode_restarts([]) == b"[]"
    assert decode_restarts(b"[]") == ()


@pytest.mark.parametrize("data", [b"{}", b"null", b"[[]]", b"[1]", b"[{}]", b"[ ]", b""])
def test_what_is_no_list_of_restarts_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_restarts(data)


@pytest.mark.parametrize("part", ["advertised", "complaint"])
@pytest.mark.parametrize("value", [None, {}, 1, [1], [{}]])
def test_a_part_of_another_form_is_refused(restart: Restart, part: str, value: object) -> None:
    items = document(restart)
    items[0][part] = value
    with pytest.raises(FormatError):
        decode_restarts(canonical_json(items))


@pytest.mark.parametrize("part", ["advertised", "complaint"])
def test_every_part_is_there(restart: Restart, part: str) -> None:
    items = document(restart)
    del items[0][part]
    with pytest.raises(FormatError, match="a restart has exactly"):
        decode_restarts(canonical_json(items))


def test_nothing_else_is_there(restart: Restart) -> None:
    items = document(restart)
    items[0]["comment"] = "x"
    with pytest.raises(FormatError, match="a restart has exactly"):
        decode_restarts(canonical_json(items))


@pytest.mark.parametrize("change", [{"seat": True}, {"seat": 65535}, {"body": "AA"}, {"signature": None}, {"extra": 1}])
def test_a_malformed_complaint_is_refused(restart: Restart, change: dict[str, object]) -> None:
    items = document(restart)
    items[0]["complaint"].update(change)
    with pytest.raises(FormatError):
        decode_restarts(canonical_json(items))


def test_messages_ascend_without_repetition(restart: Restart) -> None:
    items = document(restart)
    honest = items[0]["advertised"]
    for wrong in (honest[::-1], [honest[0], *honest]):
        items[0]["advertised"] = wrong
        with pytest.raises(FormatError, match="ascend by seat"):
            decode_restarts(canonical_json(items))
