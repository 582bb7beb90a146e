"""The site's own rules bind every spec."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from testkit.ratings import CORRELATION, rated_spec
from testkit.specs import small_spec
from vdb_participant.site.config import StateFolder
from vdb_participant.site.policy import (
    DEFAULT_POLICY,
    check_address,
    check_cohort,
    check_cost,
    check_models,
    check_policy,
    parse_policy,
    policy_in,
)
from vdb_shared.errors import BudgetError, UsageError
from vdb_shared.privacy.accountant import rho_within
from vdb_shared.privacy.conversion import epsilon_of_rho
from vdb_shared.registry.rows import Registry, Row
from vdb_shared.spec import Model, Spec


def test_default_policy_allows_the_small_spec() -> None:
    check_policy(parse_policy(DEFAULT_POLICY), small_spec())


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (
            "epsilon_per_session = 8",
            "epsilon_per_session = 7.99",
            "epsilon_per_session allows 7.99, the spec asks for 8",
        ),
        ("minimum_cohort = 3", "minimum_cohort = 5", "minimum_cohort demands 5 institutions in the sum"),
        ("minimum_honest = 2", "minimum_honest = 4", "minimum_honest demands 4 honest ones in the sum"),
        ("minimum_collusion = 1", "minimum_collusion = 2", "minimum_collusion demands 2 that may collude"),
        ('allowed_metrics = ["*"]', 'allowed_metrics = ["clip-score@1"]', "does not hold temporal-flickering@1"),
        ('allowed_models = ["*"]', 'allowed_models = ["tiny-wan-a"]', "allowed_models does not hold tiny-wan-b"),
    ],
)
def test_each_rule_refuses(old: str, new: str, named: str) -> None:
    assert old in DEFAULT_POLICY
    with pytest.raises(BudgetError, match=named):
        check_policy(parse_policy(DEFAULT_POLICY.replace(old, new)), small_spec())


def registry() -> Registry:
    """Return a registry with a model behind an address elsewhere and one behind an address of this machine."""
    rows = {
        name: Row.model_validate(
            {
                "id": name,
                "class": "external",
                "licence": {"name": licence},
                "steps": 1,
                "guidance": 1,
                "frames": 9,
                "fps": 8,
                "height": 32,
                "width": 32,
                "external": {"kind": "http", "url": url, "request": {"words": "{prompt}"}},
            }
        )
        for name, licence, url in (
            ("abroad", "OpenRAIL", "https://video.example.org/v1"),
            ("here", "MIT", "http://127.0.0.1:9/"),
        )
    }
    return Registry(rows)


def of_models(*names: str) -> Spec:
    models = tuple(Model(id=name, pipeline="external", manifest="sha256:" + "a" * 64) for name in names)
    return small_spec().model_copy(update={"models": models})


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ('allowed_licences = ["MIT"]', "allowed_licences does not hold OpenRAIL, that of abroad"),
        ('allowed_licences = ["OpenRAIL"]', "allowed_licences does not hold MIT, that of here"),
        ('allowed_licences = ["MIT", "OpenRAIL"]', "the licence of nobodys, which is not known"),
        (
            'allowed_networks = ["10.0.0.0/8"]',
            "allowed_networks does not hold video.example.org:443, the endpoint of abroad",
        ),
        ('allowed_networks = ["example.org:80"]', "allowed_networks does not hold video.example.org:443"),
    ],
)
def test_licences_and_addresses_of_models(line: str, refused: str) -> None:
    policy = parse_policy(DEFAULT_POLICY.replace(f'{line.partition(" ")[0]} = ["*"]', line))
    with pytest.raises(BudgetError, match=refused):
        check_models(policy, of_models("abroad", "here", "nobodys"), registry())


@pytest.mark.parametrize("rule", ["*", "example.org", "video.example.org:443"])
def test_addresses_that_are_allowed(rule: str) -> None:
    policy = parse_policy(DEFAULT_POLICY.replace('allowed_networks = ["*"]', f'allowed_networks = ["{rule}"]'))
    check_models(policy, of_models("abroad", "here"), registry())


@pytest.mark.parametrize(
    ("rule", "address", "allowed"),
    [
        ("hospital.example", "vdb.hospital.example:7443", True),
        ("hospital.example", "vdb.nothospital.example:7443", False),
        ("10.1.0.0/16", "10.1.2.3:7443", True),
        ("10.1.0.0/16", "10.2.2.3:7443", False),
        ("10.1.0.0/16", "vdb.hospital.example:7443", False),
        ("fd00::/8", "[fd00::7]:7443", True),
        ("vdb.hospital.example:7443", "vdb.hospital.example:7444", False),
        ("nowhere.example", "localhost:7443", True),
    ],
)
def test_rules_are_held_against_addresses_as_they_are_written(rule: str, address: str, allowed: bool) -> None:
    policy = parse_policy(DEFAULT_POLICY.replace('allowed_networks = ["*"]', f'allowed_networks = ["{rule}"]'))
    if allowed:
        check_address(policy, address, "the coordinator's address")
        return
    with pytest.raises(BudgetError, match="nothing was sent there"):
        check_address(policy, address, "the coordinator's address")


def test_the_policy_of_a_site_that_has_none_yet_is_the_default_one(tmp_path: Path) -> None:
    assert policy_in(StateFolder(tmp_path)) == parse_policy(DEFAULT_POLICY)
    assert not policy_in(StateFolder(tmp_path)).unattended_consent
    assert policy_in(StateFolder(tmp_path)).hours is None


def test_a_metric_that_is_correlated_with_peoples_scores_must_be_allowed_too() -> None:
    only = parse_policy(DEFAULT_POLICY.replace('allowed_metrics = ["*"]', 'allowed_metrics = ["human-correlation@1"]'))
    with pytest.raises(BudgetError, match="allowed_metrics does not hold temporal-flickering@1"):
        check_policy(only, rated_spec([CORRELATION]))


def test_the_cohort_of_the_sealed_joins_is_held_against_the_policy() -> None:
    policy = parse_policy(DEFAULT_POLICY.replace("minimum_cohort = 3", "minimum_cohort = 5"))
    check_cohort(policy, 5, 1)
    with pytest.raises(BudgetError, match=r"minimum_cohort demands 5 .* content with 4"):
        check_cohort(policy, 4, 1)


def test_colluders_hide_nobody() -> None:
    policy = parse_policy(DEFAULT_POLICY.replace("minimum_honest = 2", "minimum_honest = 3"))
    check_cohort(policy, 6, 3)
    with pytest.raises(BudgetError, match=r"minimum_honest demands 3 .* ensures 2"):
        check_cohort(policy, 6, 4)


def test_the_site_chooses_what_counts_and_its_default_is_the_overlap() -> None:
    assert parse_policy(DEFAULT_POLICY).charge == "overlapping"
    assert parse_policy(DEFAULT_POLICY.replace('charge = "overlapping"', "")).charge == "overlapping"
    assert parse_policy(DEFAULT_POLICY.replace('charge = "overlapping"', 'charge = "site"')).charge == "site"
    for wrong in ('charge = "nothing"', 'ledger_account = "site"'):
        with pytest.raises(UsageError, match=wrong.partition(" ")[0]):
            parse_policy(DEFAULT_POLICY.replace('charge = "overlapping"', wrong))
    assert "in another encoding, or a prompt in other words, is NOT recognised" in DEFAULT_POLICY


def test_cap_is_the_largest_rho_within_the_total() -> None:
    cap = parse_policy(DEFAULT_POLICY).rho_cap
    assert epsilon_of_rho(cap, Decimal("1e-6")) <= 20
    assert epsilon_of_rho(cap + Decimal("0.00001"), Decimal("1e-6")) > 20


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epsilon_per_session = [", "policy.toml: not TOML"),
        (DEFAULT_POLICY.replace("epsilon_total = 20", "epsilon_total = -1"), "policy.toml: epsilon_total"),
        (DEFAULT_POLICY.replace("epsilon_total = 20", "epsilon_totl = 20"), "policy.toml: epsilon_tot"),
        (DEFAULT_POLICY.replace("minimum_cohort = 3", "minimum_cohort = 2"), "policy.toml: minimum_cohort"),
    ],
)
def test_mistakes_are_named(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_policy(text)


def test_a_larger_delta_does_not_buy_a_cheaper_epsilon() -> None:
    """The same rho looks like a smaller epsilon at a larger delta; the policy judges at its own."""
    policy = parse_policy(DEFAULT_POLICY)
    allowed = rho_within(policy.epsilon_per_session, policy.delta)
    check_cost(policy, allowed)
    at_larger_delta = rho_within(policy.epsilon_per_session, Decimal("0.0005"))
    assert at_larger_delta > allowed
    with pytest.raises(BudgetError, match=r"epsilon_per_session allows epsilon 8 at delta 0\.000001"):
        check_cost(policy, at_larger_delta)
