"""The coordinator's failpoints: read strictly, silent unless set, and each acts once."""

from __future__ import annotations

import pytest

from vdb_coordinator.serving.failpoints import Failpoints, failpoints_from_environment, parse_failpoints
from vdb_shared.errors import StoreError, UsageError


def test_an_error_comes_at_its_time_and_only_then() -> None:
    points = parse_failpoints("before-commit=error@3, after-sign=error")
    for _ in range(2):
        points.reach("before-commit")
    with pytest.raises(StoreError, match="before-commit"):
        points.reach("before-commit")
    points.reach("before-commit")
    with pytest.raises(StoreError, match="after-sign"):
        points.reach("after-sign")


def test_nothing_is_set_by_default() -> None:
    assert failpoints_from_environment() == Failpoints()
    Failpoints().reach("before-publish")


@pytest.mark.parametrize(
    "text", ["somewhere=kill", "before-commit", "before-commit=explode", "before-commit=kill@0", "before-commit=kill@x"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="VDB_COORDINATOR_FAILPOINTS"):
        parse_failpoints(text)
