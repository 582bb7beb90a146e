"""Sites killed at random moments while they pay and send: nothing leaves that is not debited once. The whole campaign is
`python -m testkit.debiting --seeds 500`."""

from __future__ import annotations

from pathlib import Path

from testkit.debiting import campaign


def test_20_sites_killed_again_and_again_debit_once_what_left(tmp_path: Path) -> None:
    found = campaign(tmp_path, range(20))
    assert found.holds, found
    assert not found.overcounts
    assert min(found.kills, found.left, found.refunded) > 0, "some story was never told"


def test_the_campaign_finds_who_pays_after_sending(tmp_path: Path) -> None:
    assert campaign(tmp_path, range(4), "late").undercounts


def test_the_campaign_finds_who_takes_back_what_left(tmp_path: Path) -> None:
    assert campaign(tmp_path, range(4), "refund").undercounts
