"""The layout follows from the spec, in one order, and refuses what does not fit with the field's name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from testkit.metric_specs import CLIP_SCORE, FLICKERING, FRECHET, KERNEL, LATENCY, make_spec
from vdb_shared.errors import SpecError
from vdb_shared.layout import contributions_at_most, layout_of, promise_of

PRIVATE_PROMPTS = {"private_share": 1}


def private(metric: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return metric | {"inputs": "private"} | changes


def test_blocks_of_public_inputs_and_the_noised_reference() -> None:
    layout = layout_of(make_spec([FLICKERING, FRECHET, KERNEL], models=["alpha"]))
    assert [(block.name, block.dims, block.bound_squared, block.private) for block in layout.blocks] == [
        ("reference/clips/count", 1, 1, True),
        ("reference/clips/frechet-videomae@1/moments", 14, 2, True),
        ("reference/clips/mmd-rff@1/embedding", 64, 1, True),
        ("reference/clips/mmd-rff@1/covariance", 128, 1, True),
        ("public/alpha/count", 2, 1, False),
        ("public/alpha/temporal-flickering@1/moments", 2, 2, False),
        ("public/alpha/temporal-flickering@1/histogram", 32, 1, False),
        ("public/alpha/frechet-videomae@1/moments", 14, 2, False),
        ("public/alpha/mmd-rff@1/embedding", 64, 1, False),
        ("public/alpha/mmd-rff@1/covariance", 128, 1, False),
    ]
    assert layout.clip_norm_squared() == Decimal("4.25")


def test_a_part_that_serves_the_interval_alone_takes_half_of_the_metrics_weight() -> None:
    layout = layout_of(make_spec([KERNEL | {"weight": "3"}], models=["alpha"]))
    assert {block.name: block.weight for block in layout.blocks} == {
        "reference/clips/count": 1,
        "reference/clips/mmd-rff@1/embedding": 3,
        "reference/clips/mmd-rff@1/covariance": Decimal("1.5"),
        "public/alpha/count": 1,
        "public/alpha/mmd-rff@1/embedding": 1,
        "public/alpha/mmd-rff@1/covariance": 1,
    }


def test_blocks_of_private_inputs_carry_weights_and_no_histogram() -> None:
    layout = layout_of(make_spec([private(CLIP_SCORE, weight="0.5")], generation=PRIVATE_PROMPTS))
    assert [(block.name, block.private, block.weight) for block in layout.blocks] == [
        ("private/alpha/count", True, Decimal(1)),
        ("private/alpha/clip-score@1/moments", True, Decimal("0.5")),
        ("private/beta/count", True, Decimal(1)),
        ("private/beta/clip-score@1/moments", True, Decimal("0.5")),
    ]
    assert layout.clip_norm_squared() == 2 * (1 + Decimal("0.25") * 2)


def test_several_samples_of_a_private_prompt_are_one_record() -> None:
    layout = layout_of(make_spec([private(LATENCY)], models=["alpha"], generation=PRIVATE_PROMPTS | {"samples": 3}))
    assert [(block.bound_squared, block.clips) for block in layout.blocks] == [(9, 3), (18, 3)]


def test_a_distance_on_both_inputs_has_one_reference() -> None:
    layout = layout_of(make_spec([FRECHET, private(FRECHET)], models=["alpha"], generation=PRIVATE_PROMPTS))
    names = [block.name for block in layout.blocks]
    assert names.count("reference/clips/frechet-videomae@1/moments") == 1
    assert names.count("private/alpha/frechet-videomae@1/moments") == 1


def test_scores_alone_need_no_reference_and_no_privacy() -> None:
    assert layout_of(make_spec([FLICKERING])).private_lanes == 0


@pytest.mark.parametrize(
    ("metrics", "field"),
    [
        ([FLICKERING, {"id": "fvd@1", "inputs": "public"}], "metrics.1.id"),
        ([{"id": "clip-score@1", "inputs": "public"}], "metrics.0.extractor"),
        ([CLIP_SCORE | {"extractor": "tiny-videomae"}], "metrics.0.extractor"),
        ([CLIP_SCORE | {"extractor": "absent"}], "metrics.0.extractor"),
        ([FLICKERING | {"extractor": "tiny-clip"}], "metrics.0.extractor"),
        ([{"id": "latency@1", "inputs": "public"}], "metrics.0.limit"),
        ([FLICKERING | {"limit": "2"}], "metrics.0.limit"),
        ([KERNEL | {"limit": "2"}], "metrics.0.limit"),
        ([{name: value for name, value in KERNEL.items() if name != "features"}], "metrics.0.features"),
        ([{name: value for name, value in KERNEL.items() if name != "bandwidth"}], "metrics.0.bandwidth"),
        ([FRECHET | {"features": 64}], "metrics.0.features"),
        ([FRECHET | {"bandwidth": "1"}], "metrics.0.bandwidth"),
        ([KERNEL, private(KERNEL, features=32)], "metrics.1.features"),
        ([FRECHET, private(FRECHET, weight="2")], "metrics.1.weight"),
        ([FRECHET | {"id": "cd-fvd@1", "limit": "9"}], "metrics.0.extractor"),
        ([FRECHET | {"id": "jedi@1"}], "metrics.0.limit"),
        ([private(FRECHET, id="vendi@1")], "metrics.0.inputs"),
        ([{"id": "psnr@1", "inputs": "public"}], "metrics.0.id"),
        ([{"id": "fvmd-dis@1", "inputs": "public", "limit": "9"}], "metrics.0.id"),
        ([FLICKERING, {"id": "ms-ssim@1", "inputs": "public"}], "metrics.1.id"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(metrics: list[dict[str, Any]], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        layout_of(make_spec(metrics, generation=PRIVATE_PROMPTS))
    assert caught.value.field == field


def test_refusals_say_what_to_do() -> None:
    for metric, words in (
        (private(FRECHET, id="vendi@1"), "vendi@1 takes public inputs only: noise fills .*; ask for rke@1 instead"),
        ({"id": "psnr@1", "inputs": "public"}, "psnr@1 compares a clip with .*; alpha starts from words alone"),
        ({"id": "fvmd-dis@1", "inputs": "public", "limit": "9"}, "at least 16 frames, those of alpha have 9"),
    ):
        with pytest.raises(SpecError, match=words):
            layout_of(make_spec([metric], generation=PRIVATE_PROMPTS))


def test_reference_clips_must_be_long_enough_too() -> None:
    metric = {"id": "fvmd-dis@1", "inputs": "public", "limit": "9"}
    spec = make_spec([metric], models=["alpha"])
    longer = tuple(model.model_copy(update={"frames": 17}) for model in spec.models)
    with pytest.raises(SpecError, match="at least 16 frames, those of the reference have 9"):
        layout_of(spec.model_copy(update={"models": longer}))


@pytest.mark.parametrize("limit", ["0.0000001", "1000001", "1e80"])
def test_limits_with_which_no_arithmetic_works_are_refused(limit: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        make_spec([FRECHET | {"limit": format(Decimal(limit), "f")}])


def test_a_metric_without_an_extractor_has_a_dimension_of_its_own() -> None:
    spec = make_spec([{"id": "fvmd-dis@1", "inputs": "public", "limit": "9"}], models=["alpha"], video={"frames": 17})
    blocks = {block.name: block.dims for block in layout_of(spec).blocks}
    assert blocks["public/alpha/fvmd-dis@1/moments"] == 1024 + 1024 * 1025 // 2


def test_a_feature_norm_may_be_given_for_the_frechet_distance() -> None:
    assert layout_of(make_spec([FRECHET | {"limit": "12.5"}])).lanes


def test_the_capacity_counts_the_clips_of_the_largest_block() -> None:
    assert contributions_at_most(make_spec([FLICKERING], generation={"samples": 2})) == 2000
    assert contributions_at_most(make_spec([FLICKERING], privacy={"maximum_records": 3})) == 4
    with pytest.raises(SpecError) as caught:
        layout_of(make_spec([FLICKERING], privacy={"maximum_records": 2**24}, generation={"samples": 2}))
    assert caught.value.field == "privacy.maximum_records"


def test_the_promise_repeats_the_spec() -> None:
    promise = promise_of(make_spec([FRECHET]), joined=6, smallest_cohort=5)
    assert (promise.epsilon, promise.delta, promise.collusion) == (Decimal(4), Decimal("0.000001"), 1)
    assert (promise.joined, promise.smallest_cohort, promise.honest, promise.capacity) == (6, 5, 4, 1000)
