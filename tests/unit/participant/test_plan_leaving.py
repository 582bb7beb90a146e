"""The sizes in a plan are those of the messages that leave."""

from __future__ import annotations

from testkit.plans import flat, opening, plan
from testkit.specs import small_spec
from vdb_participant.session.plan_leaving import leaves
from vdb_shared.metrics.statistic import Block, Layout
from vdb_shared.secagg.messages import UnmaskingShares
from vdb_shared.secagg.sealing import Route, SharePair, seal


def test_sizes_are_those_of_the_messages() -> None:
    """537 lanes and one blinder; a pair for each of three others; one share for each of four, in a message that names T3."""
    text = flat(plan().text)
    assert "one masked vector of 537 numbers and what checks their sum (4,328 bytes), shares of keys, and our" in text
    assert f"  Leaves   {8 * 537 + 32:,} bytes of masked sums" in plan().short
    sealed = seal(SharePair(1, 2), Route(bytes(32), 0, 1), b"a" * 32)
    assert f"through the coordinator, {len(sealed)} bytes each, sealed so that" in text
    assert f"at most {3 * len(sealed)} bytes for 3." in text
    shares = UnmaskingShares(bytes(32), 0, {0: 1, 1: 2, 2: 3}, {3: 4}).encode()
    assert f"not sealed: 68 bytes and 36 for each, at most {len(shares)}." in text
    assert "unless more than 1 of the others collude with the coordinator." in text
    assert "shares and vector leave again, in these sizes." in text


def test_every_block_of_a_longer_vector_has_what_checks_it() -> None:
    found = opening(small_spec())
    layout = Layout((Block("private/a/clip-score@1/moments", 4097, 1, private=True),))
    assert "4,097 numbers and what checks their sum (32,840 bytes)" in flat(" ".join(leaves(found, layout, {})))
