"""The spec: strict, canonical, and clear about every mistake."""

from __future__ import annotations

from decimal import Decimal

import pytest

from testkit.specs import TOML, small_spec
from vdb_shared.errors import SpecError
from vdb_shared.spec import parse_spec_json, parse_spec_toml


def test_toml_and_canonical_json_are_the_same_spec() -> None:
    spec = parse_spec_toml(TOML)
    assert parse_spec_json(spec.canonical()) == spec
    assert parse_spec_json(spec.canonical()).digest == spec.digest


def test_layout_of_the_file_does_not_change_the_digest() -> None:
    shuffled = TOML.replace("dropout = 0.2", "dropout = 0.20  # a fifth").replace("epsilon = 8", "epsilon = 8.0")
    assert parse_spec_toml(shuffled).digest == parse_spec_toml(TOML).digest


def test_defaults_are_written_out() -> None:
    assert b'"mechanism":"distributed-discrete-gaussian"' in small_spec().canonical()


def test_opendp_draws_the_noise_unless_the_spec_says_otherwise() -> None:
    assert b'"sampler":"opendp"' in small_spec().canonical()
    chosen = parse_spec_toml(TOML.replace("[privacy]", '[privacy]\nsampler = "integer"'))
    assert chosen.privacy.sampler == "integer"
    assert parse_spec_json(chosen.canonical()) == chosen
    assert chosen.digest != small_spec().digest


def test_two_percent_of_the_public_clips_are_made_twice_unless_a_file_says_otherwise() -> None:
    assert b'"checked_share":"0.02"' in small_spec().canonical()
    chosen = parse_spec_toml(TOML.replace("[generation]", "[generation]\nchecked_share = 0.5"))
    assert b'"checked_share":"0.5"' in chosen.canonical()
    assert parse_spec_json(chosen.canonical()) == chosen


def test_a_spec_older_than_the_share_keeps_its_digest_and_has_no_clip_made_twice() -> None:
    """The bytes of a bundle from before there was a share, which nobody ran under the promise of one."""
    older = small_spec().canonical().replace(b'"checked_share":"0.02",', b"")
    found = parse_spec_json(older)
    assert found.generation.checked_share == 0
    assert found.canonical() == older
    assert found.digest == "sha256:a6691d0eafdb20758eaa1de153145d5b8366ad12dd6447083668f983e210c372"
    assert parse_spec_toml(TOML.replace("[generation]", "[generation]\nchecked_share = 0")) == found


def test_a_share_of_none_has_one_spelling() -> None:
    spelled = small_spec().canonical().replace(b'"checked_share":"0.02"', b'"checked_share":"0"')
    with pytest.raises(SpecError, match="canonical"):
        parse_spec_json(spelled)


def test_mixed_precision_of_an_extractor_is_the_spec_s_to_ask_for() -> None:
    assert b'"precision"' not in small_spec().canonical()
    asked = parse_spec_toml(TOML.replace("dimension = ", 'precision = "float16"\ndimension = ', 1))
    assert asked.extractors[0].precision == "float16"
    assert parse_spec_json(asked.canonical()) == asked
    for other in ("float32", "bfloat16"):
        with pytest.raises(SpecError, match=r"extractors\.0\.precision: expected 'float16'"):
            parse_spec_toml(TOML.replace("dimension = ", f'precision = "{other}"\ndimension = ', 1))


def test_the_class_of_a_named_profile_follows_from_it() -> None:
    assert small_spec().generation.clip_class == "exact"
    assert b"grade" not in small_spec().canonical()
    for name in ("balanced", "fast", "low-memory"):
        chosen = parse_spec_toml(TOML.replace("[generation]", f'[generation]\nprofile = "{name}"'))
        assert chosen.generation.clip_class == "accelerated"
        assert parse_spec_json(chosen.canonical()) == chosen


def test_auto_declares_a_class() -> None:
    for grade in ("exact", "accelerated"):
        text = TOML.replace("[generation]", f'[generation]\nprofile = "auto"\ngrade = "{grade}"')
        chosen = parse_spec_toml(text)
        assert chosen.generation.clip_class == grade
        assert parse_spec_json(chosen.canonical()) == chosen
    for wrong in ('profile = "auto"', 'profile = "fast"\ngrade = "accelerated"', 'grade = "exact"'):
        with pytest.raises(SpecError, match=r'generation\.grade: "exact" or "accelerated" goes with profile "auto"'):
            parse_spec_toml(TOML.replace("[generation]", f"[generation]\n{wrong}"))


def test_reals_are_exact() -> None:
    assert small_spec().cohort.dropout == Decimal("0.2")
    assert b'"dropout":"0.2"' in small_spec().canonical()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "epsilon = 8",
            "epsilom = 8",
            "spec.toml:11: privacy.epsilom: is not a field of a spec; did you mean epsilon?",
        ),
        ("epsilon = 8", "epsilon = 0", "spec.toml:11: privacy.epsilon: must be above 0 (found 0)"),
        ("epsilon = 8\n", "", "spec.toml:10: privacy.epsilon: is missing"),
        (
            "minimum = 4",
            "minimum = 4.5",
            "spec.toml:6: cohort.minimum: expected a whole number (found 4.5)",
        ),
        (
            "collusion = 1",
            "collusion = 4",
            "spec.toml:6: cohort.minimum: 4 is too small for collusion 4; at least 6 institutions are needed",
        ),
        (
            'id = "tiny-wan-b"\npipeline = "WanPipeline"',
            'id = "tiny-wan-b"\npipeline = "SoraPipeline"',
            "spec.toml:47: models.1.pipeline: SoraPipeline is not a pipeline class of the registry; did you mean WanPipeline?",
        ),
        (
            'id = "tiny-wan-b"',
            'id = "tiny-wan-a"',
            "spec.toml:46: models.1.id: tiny-wan-a stands twice; models.0 has it too",
        ),
        (
            "private_share = 0.25",
            "private_share = 0",
            "spec.toml:30: generation.private_share: is 0, but a metric has private inputs; "
            "say which share of the prompts is used",
        ),
        (
            "epsilon = 8",
            'mechanism = "none"\nepsilon = 8',
            "spec.toml:11: privacy.mechanism: none exists for tests only: no spec that is written may turn the noise off",
        ),
        ("epsilon = 8", "epsilon = nan", "spec.toml:11: privacy.epsilon: expected a finite number (found nan)"),
        ("epsilon = 8", "epsilon = -inf", "spec.toml:11: privacy.epsilon: expected a finite number (found -inf)"),
        (
            "epsilon = 8",
            'epsilon = "eight"',
            'spec.toml:11: privacy.epsilon: expected a number, such as 8 or 0.5, without quotation marks (found "eight")',
        ),
        (
            "epsilon = 8",
            'epsilon = "8.0"',
            'spec.toml:11: privacy.epsilon: expected a number, such as 8 or 0.5, without quotation marks (found "8.0")',
        ),
        (
            "epsilon = 8",
            "epsilon = 1e400",
            "spec.toml:11: privacy.epsilon: 1E+400 is beyond the range of numbers that are used here",
        ),
        ("epsilon = 8", "epsilon = 2031-01-01", "spec.toml:11: privacy.epsilon: a spec holds no date values"),
        (
            "minimum = 4",
            "minimum = 99999999999999999999",
            "spec.toml:6: cohort.minimum: expected a whole number from -9007199254740991 to 9007199254740991 "
            "(found 99999999999999999999)",
        ),
        ("minimum = 4", 'minimum = "4"', 'spec.toml:6: cohort.minimum: expected a whole number (found "4")'),
        (
            "epsilon = 8",
            'sampler = "numpy"\nepsilon = 8',
            "spec.toml:11: privacy.sampler: expected 'opendp' or 'integer' (found \"numpy\")",
        ),
        (
            "[video]",
            "[video",
            "spec.toml:21: not TOML: Expected ']' at the end of a table declaration (at line 21, column 7); the line is "
            "`[video`: is a ] missing at its end?",
        ),
        (
            "sha256:aaaa",
            "sha256:AAAA",
            "spec.toml:43: models.0.manifest: 'sha256:AAAA"
            + "a" * 60
            + "' is not a digest of the form sha256:<64 hex digits>",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_line_and_field(old: str, new: str, message: str) -> None:
    assert old in TOML
    with pytest.raises(SpecError) as caught:
        parse_spec_toml(TOML.replace(old, new, 1), file="spec.toml")
    assert str(caught.value) == message


def test_json_must_be_canonical_and_complete() -> None:
    canonical = small_spec().canonical()
    for data in (canonical + b"\n", canonical.replace(b'"samples":1,', b""), canonical.replace(b'"0.2"', b'"0.20"')):
        assert data != canonical
        with pytest.raises(SpecError):
            parse_spec_json(data)


def test_json_has_a_size_limit() -> None:
    with pytest.raises(SpecError, match="at most"):
        parse_spec_json(b" " * (4 * 2**20 + 1))
