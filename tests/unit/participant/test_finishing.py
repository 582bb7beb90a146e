"""What we signed binds the result that we countersign, whatever the coordinator acknowledged."""

from __future__ import annotations

from testkit.crashes import Disk
from vdb_participant.session.codec import encode_signed
from vdb_participant.session.exchange import AGREE_SENT
from vdb_participant.session.finishing import signed_view
from vdb_participant.session.records import RESTART, in_attempt
from vdb_participant.site.journal import Journal
from vdb_shared.secagg.messages import Signed


def test_a_view_that_was_signed_counts_without_its_acknowledgement() -> None:
    journal = Journal(Disk(), bytes(32))
    assert signed_view(journal) is None
    journal.record(AGREE_SENT, encode_signed(Signed(b"the survivors", b"signature")))
    assert signed_view(journal) == b"the survivors"


def test_after_a_restart_the_view_of_the_last_attempt_counts() -> None:
    journal = Journal(Disk(), bytes(32))
    journal.record(f"{RESTART}1", b"evidence")
    assert signed_view(journal) is None
    journal.record(in_attempt(1, AGREE_SENT), encode_signed(Signed(b"the survivors", b"signature")))
    assert signed_view(journal) == b"the survivors"
