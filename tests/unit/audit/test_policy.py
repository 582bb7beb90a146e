from __future__ import annotations

from decimal import Decimal

import pytest

from vdb_shared.audit.policy import DEFAULT_POLICY, MAX_POLICY_BYTES, parse_policy
from vdb_shared.errors import UsageError


def test_reads_toml() -> None:
    policy = parse_policy(b'version = "vdb-audit-policy/1"\nmaximum_epsilon = 2.5\nminimum_cohort = 10\n')
    assert policy.maximum_epsilon == Decimal("2.5")
    assert policy.minimum_cohort == 10
    assert policy.maximum_delta == DEFAULT_POLICY.maximum_delta


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epsilon = 1", "epsilon"),
        ("maximum_epsilon = 0", "maximum_epsilon"),
        ("maximum_epsilon = true", "maximum_epsilon"),
        ("maximum_delta = 1.0", "maximum_delta"),
        ("minimum_cohort = 2", "minimum_cohort"),
        ("minimum_cohort = 3.0", "minimum_cohort"),
        ('root = "sha256:1"', "root"),
        ('version = "vdb-audit-policy/2"', "version"),
        ("maximum_epsilon = nan", "maximum_epsilon"),
        ("= 1", "not TOML"),
        ("#" * (MAX_POLICY_BYTES + 1), "bytes"),
    ],
)
def test_a_mistake_is_named(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_policy(text.encode(), file="mine.toml")


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mine\.toml"):
        parse_policy(b"\xff", file="mine.toml")
