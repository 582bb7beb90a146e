"""What `policy lint` says of a policy, with lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.institutions import session_spec
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_participant.site.policy_lint import Remark, lint
from vdb_shared.errors import UsageError

METRICS, MODELS = ("clip-score@1", "frechet-videomae@1"), {"wan-a": "Apache-2.0", "wan-b": "Apache-2.0"}


def changed(old: str, new: str) -> str:
    assert old in DEFAULT_POLICY
    return DEFAULT_POLICY.replace(old, new)


def line_of(text: str, rule: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), start=1) if line.startswith(rule))


def test_the_policy_that_enrolment_writes_has_no_mistakes() -> None:
    assert lint(DEFAULT_POLICY, METRICS, MODELS) == ()


@pytest.mark.parametrize(
    ("old", "new", "rule", "words"),
    [
        ("minimum_cohort = 3", "minimum_cohort = 2", "minimum_cohort", "must be at least 3"),
        ("minimum_cohort = 3", "minimum_kohort = 3", "minimum_kohort", "is no rule; did you mean minimum_cohort?"),
        ("epsilon_total = 20", "epsilon_total = -1", "epsilon_total", "must be above 0"),
        ("epsilon_total = 20", 'epsilon_total = "20"', "epsilon_total", "expected a number"),
        ('charge = "overlapping"', 'charge = "never"', "charge", "'overlapping' or 'site'"),
        ("# gpu_hours = [", "gpu_hours = ['Mon-Fry 19:00-07:00'] # [", "gpu_hours", 'expected hours such as "Mon-Fri'),
        ("# gpu_hours = [", "gpu_hours = [] # [", "gpu_hours", "nothing would ever run here"),
        *(
            ('allowed_networks = ["*"]', f'allowed_networks = ["{rule}"]', "allowed_networks", "is no address: ")
            for rule in (
                "https://vdb.example.org",
                "10.1.0.0/33",
                "10.1.0.300",
                "vdb example",
                "",
                "fd00::/200",
                "a..b",
                "-a",
            )
        ),
        ("unattended_consent = false", 'unattended_consent = "yes"', "unattended_consent", "expected true or false"),
    ],
)
def test_errors_have_line_and_rule_and_are_what_is_refused(old: str, new: str, rule: str, words: str) -> None:
    text = changed(old, new)
    with pytest.raises(UsageError):
        parse_policy(text)
    found = [remark for remark in lint(text, METRICS, MODELS) if remark.field == rule]
    assert [(item.line, item.error) for item in found] == [(line_of(text, rule), True)]
    assert words in found[0].words


def test_all_errors_are_told_at_once() -> None:
    """Also several in one list, and names in lists that are in order."""
    text = changed("minimum_cohort = 3", "minimum_cohort = 2").replace("delta = 1e-6", "delta = 0")
    text = text.replace('allowed_networks = ["*"]', 'allowed_networks = ["a..b", "vdb.example", "10.1.0.0/33"]')
    text = text.replace('allowed_metrics = ["*"]', 'allowed_metrics = ["clip-score"]')
    found = lint(text, METRICS, MODELS)
    assert {remark.field for remark in found if remark.error} == {"minimum_cohort", "delta", "allowed_networks"}
    assert [remark.words[:13] for remark in found if remark.field == "allowed_networks"] == [
        "'a..b' is no ",
        "'10.1.0.0/33'",
    ]
    assert [remark.field for remark in found if not remark.error] == ["allowed_metrics"]


def test_a_rule_is_not_called_odd_beside_one_that_is_wrong() -> None:
    """What the other one was meant to be is not known."""
    text = changed("epsilon_total = 20", "epsilon_total = -90").replace("per_session = 8", "per_session = 80")
    assert [remark.field for remark in lint(text, METRICS, MODELS)] == ["epsilon_total"]


@pytest.mark.parametrize(
    ("old", "new", "rule", "words"),
    [
        (
            "epsilon_per_session = 8",
            "epsilon_per_session = 30",
            "epsilon_per_session",
            "is more than epsilon_total, 20",
        ),
        (
            "minimum_honest = 2",
            "minimum_honest = 4",
            "minimum_cohort",
            "is less than minimum_honest and minimum_collusion together, 5",
        ),
        ("delta = 1e-6", "delta = 1e-3", "delta", "far below one divided by the number of records"),
        (
            'allowed_models = ["*"]',
            'allowed_models = ["wan-c"]',
            "allowed_models",
            "wan-c is not known here; did you mean wan-",
        ),
        (
            'allowed_metrics = ["*"]',
            'allowed_metrics = ["clip-score"]',
            "allowed_metrics",
            "did you mean clip-score@1?",
        ),
        (
            'allowed_licences = ["*"]',
            'allowed_licences = ["Apache 2"]',
            "allowed_licences",
            "Apache 2 is not known here; did you mean Apache-2.0?",
        ),
        (
            'allowed_networks = ["*"]',
            "allowed_networks = []",
            "allowed_networks",
            "coordinator cannot be reached either",
        ),
        ('allowed_models = ["*"]', "allowed_models = []", "allowed_models", "is empty, so every session is refused"),
        ('allowed_models = ["*"]', 'allowed_models = ["*", "wan-a"]', "allowed_models", "the other names mean nothing"),
    ],
)
def test_rules_that_cannot_mean_what_they_seem_to(old: str, new: str, rule: str, words: str) -> None:
    text = changed(old, new)
    parse_policy(text)
    (remark,) = lint(text, METRICS, MODELS)
    assert (remark.line, remark.field, remark.error) == (line_of(text, rule), rule, False)
    assert words in remark.words


def test_what_is_not_toml() -> None:
    (remark,) = lint("epsilon = = 3", METRICS, MODELS)
    assert remark == Remark(None, "", remark.words, True)
    assert "is not TOML" in remark.words


def test_the_command(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(DEFAULT_POLICY)
    (tmp_path / "spec.json").write_bytes(session_spec(tmp_path / "models").canonical())
    done = run("--dir", tmp_path, "policy", "lint", "--spec", tmp_path / "spec.json")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/spec.json: allowed\n{policy}: no mistakes\n")
    policy.write_text(changed("epsilon_per_session = 8", "epsilon_per_session = 0.5"))
    done = run("--dir", tmp_path, "policy", "lint", "--spec", tmp_path / "spec.json")
    assert done.returncode == 1
    assert "refused by policy.toml: epsilon_per_session allows 0.5" in done.stdout
    policy.write_text(changed("minimum_cohort = 3", "minimum_cohort = 2"))
    done = run("--dir", tmp_path, "policy", "lint")
    assert done.returncode == 1
    line = line_of(policy.read_text(), "minimum_cohort")
    assert done.stdout.startswith(f"{policy}:{line}: error: minimum_cohort: ")


def test_a_policy_that_is_no_text_is_named_with_the_line(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_bytes(b"minimum_cohort = 3\n\xaf")
    done = run("--dir", tmp_path, "policy", "lint")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {policy}: is not UTF-8 text (byte 0xaf on line 2); save it as UTF-8\n"
