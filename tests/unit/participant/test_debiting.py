"""Sites killed at random moments while they pay and send: nothing leaves that is not debited once. The whole campaign is
`python -m testkit.debiting --seeds 500`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from testkit.debiting import Findings, campaign, run_site
from vdb_participant.site.config import StateFolder
from vdb_participant.site.receipts import check_kept
from vdb_shared.errors import StoreError


def test_20_sites_killed_again_and_again_debit_once_what_left(tmp_path: Path) -> None:
    found = campaign(tmp_path, range(20))
    assert found.holds, found
    assert not found.overcounts
    assert min(found.kills, found.left, found.refunded) > 0, "some story was never told"


def test_the_campaign_finds_who_pays_after_sending(tmp_path: Path) -> None:
    """Or the site's own next life does: its journal tells of a debit that the ledger has not."""
    with suppress(RuntimeError):
        assert campaign(tmp_path, range(4), "late").undercounts


def test_the_campaign_finds_who_takes_back_what_left(tmp_path: Path) -> None:
    assert campaign(tmp_path, range(4), "refund").undercounts


def test_a_lost_ledger_is_no_fresh_budget(tmp_path: Path) -> None:
    """The journals of a site tell of its debits; without the check the next session would find nothing spent."""
    run_site(tmp_path, 0, "none", Findings())
    folder = StateFolder(tmp_path)
    check_kept(folder)
    folder.ledger.unlink()
    with pytest.raises(StoreError, match="which this ledger does not hold"):
        check_kept(folder)
