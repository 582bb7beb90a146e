"""The rounds over all attempts: where a pair of shares does not open for somebody, all begin again without its dealer.

Promises that attempts only move forward, each on the strength of a signed complaint that is in the journal and was checked,
that no restart is followed once a T3 was signed in any attempt, and that whether the input may have left is asked of all
attempts. Leaves the rounds of one attempt to `exchange.py`, what makes a restart to `restarts.py`.

Source: protos/README.md §4.4, §12.2.
"""

from __future__ import annotations

from dataclasses import replace

from vdb_participant.session.codec import decode_restart, decode_signed_set, encode_restart
from vdb_participant.session.contribution import Lanes
from vdb_participant.session.exchange import (
    AGREE_SENT,
    LEAVING,
    SHARE_RECEIVED,
    ContributionOf,
    Exchange,
    run_attempt,
)
from vdb_participant.session.records import RESTART, in_attempt, in_some_attempt, present_attempt
from vdb_participant.site.journal import Journal
from vdb_shared.errors import ProtocolError, RoundsRestartedError, SessionAbortedError
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.transcript import COORDINATOR


def run_rounds(first: Exchange, lanes: Lanes, contribution_of: ContributionOf) -> None:
    """Take part in the rounds, from wherever the journal says we are, restarting them as often as there is cause.

    Args:
        first: what the first attempt works with.
        lanes: encoded statistic with noise, the same in every attempt and at every call for this session.
        contribution_of: makes the contribution statement; called at most once in each attempt's life.

    Raises:
        ProtocolError: the coordinator or a peer broke the protocol; nothing more may be sent.
        SessionAbortedError: the session ended, no longer waits for us, or goes on without us.
    """
    present = first
    while present.attempt < present_attempt(first.post.journal):
        present = _follow(present)
    while True:
        try:
            return run_attempt(present, lanes, contribution_of)
        except RoundsRestartedError:
            present = _follow(present)


def left(journal: Journal) -> bool:
    """Return whether the masked input may have left the site, in any attempt."""
    return in_some_attempt(journal, LEAVING)


def _follow(x: Exchange) -> Exchange:
    """Return what the next attempt works with, if there is cause for it.

    Raises:
        ProtocolError: by the coordinator: no cause, one that contradicts what it showed us, or we signed a T3.
        SessionAbortedError: we are left out, or too few are left.
    """
    journal, number = x.post.journal, x.attempt + 1
    if any(in_attempt(attempt, AGREE_SENT) in journal for attempt in range(number)):
        raise ProtocolError("restarts the rounds, although we signed which inputs to unmask", peer=COORDINATOR)

    def fetch() -> bytes:
        found = x.post.link.restarts(x.post.session)
        if len(found) < number:
            raise ProtocolError("says that the rounds were restarted, and does not show why", peer=COORDINATOR)
        return encode_restart(found[x.attempt])

    restart = decode_restart(journal.once(f"{RESTART}{number}", fetch))
    x.failpoints.reach("after-restart")
    parameters = verify_restart(x.parameters, restart, COORDINATOR)
    _check_same_keys(x, restart)
    if restart.dealer == x.seat:
        raise SessionAbortedError(
            f"the rounds were restarted without us: seat {restart.complainer} says that what we sealed for it does not open; "
            "this machine, that institution or the coordinator is at fault"
        )
    return replace(x, parameters=parameters)


def _check_same_keys(x: Exchange, restart: Restart) -> None:
    """Check that the evidence is about the round 0 that we were shown, if we were."""
    received = x.name(SHARE_RECEIVED)
    if received in x.post.journal and decode_signed_set(x.post.journal.recall(received)) != restart.advertised:
        raise ProtocolError("shows other keys in its restart than it showed us before", peer=COORDINATOR)
