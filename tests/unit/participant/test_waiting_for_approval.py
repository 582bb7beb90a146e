"""How often a site that waits for its lead's approval asks."""

from __future__ import annotations

from itertools import accumulate, islice, pairwise, takewhile

from vdb_participant.commands.enrolling import LONGEST_PAUSE, growing_pauses


def test_who_waits_asks_often_at_first_and_not_a_hundred_and_fifty_times_an_hour() -> None:
    pauses = list(islice(growing_pauses(), 1000))
    assert all(one <= other <= LONGEST_PAUSE for one, other in pairwise(pauses))
    assert sum(1 for _ in takewhile(lambda moment: moment <= 60, accumulate(pauses))) >= 12
    assert sum(1 for _ in takewhile(lambda moment: moment <= 3600, accumulate(pauses))) <= 150
