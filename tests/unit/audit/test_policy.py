from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

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
        ("maximum_delta = 0.0", "maximum_delta"),
        ("minimum_collusion = 0", "minimum_collusion"),
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


@pytest.mark.parametrize("text", ["maximum_epsilon = 1e99999999999999999999", "root = " + "[" * 65_000])
def test_digits_or_nesting_without_end_are_no_toml(text: str) -> None:
    with pytest.raises(UsageError, match=r"^mine\.toml: not TOML: "):
        parse_policy(text.encode(), file="mine.toml")


def test_a_mistake_is_told_with_the_fields_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        parse_policy(b"epsilon = 1", file="mine.toml")
    assert str(caught.value) == (
        "mine.toml: epsilon: is no field that is known here; known fields are version, maximum_epsilon, maximum_delta, "
        "minimum_cohort, minimum_collusion, root"
    )


def test_a_policy_may_have_just_as_many_bytes() -> None:
    assert parse_policy(b"#" * MAX_POLICY_BYTES) == DEFAULT_POLICY
    with pytest.raises(UsageError, match=rf"^policy: a policy has at most 65536 bytes, not {MAX_POLICY_BYTES + 1}$"):
        parse_policy(b"#" * (MAX_POLICY_BYTES + 1))


def test_limits_themselves_are_accepted() -> None:
    policy = parse_policy(b"minimum_cohort = 3\nminimum_collusion = 1\nmaximum_delta = 0.9\nmaximum_epsilon = 0.1\n")
    assert (policy.minimum_cohort, policy.minimum_collusion) == (3, 1)
    assert (policy.maximum_delta, policy.maximum_epsilon) == (Decimal("0.9"), Decimal("0.1"))
    assert DEFAULT_POLICY.model_dump() == {
        "version": "vdb-audit-policy/1",
        "maximum_epsilon": "16",
        "maximum_delta": "0.0001",
        "minimum_cohort": 3,
        "minimum_collusion": 1,
        "root": None,
    }


def test_nobody_changes_a_policy_that_is_in_use() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(DEFAULT_POLICY, "minimum_cohort", 1)  # noqa: B010  # as a caller without type checks would


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mine\.toml"):
        parse_policy(b"\xff", file="mine.toml")
