"""Specs that ask for people's ratings: what they need, what is refused, and that others keep their bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testkit.metric_specs import FLICKERING, make_spec
from testkit.ratings import CORRELATION, PREFERENCE, rated_spec
from vdb_shared.errors import SpecError
from vdb_shared.layout import layout_of
from vdb_shared.metrics.catalogue import CATALOGUE
from vdb_shared.privacy.accountant import account
from vdb_shared.seal import seal_terms


def test_a_metric_of_clips_has_no_new_field_in_its_canonical_form() -> None:
    metric = json.loads(make_spec([FLICKERING]).canonical())["metrics"][0]
    assert set(metric) == {"bandwidth", "extractor", "features", "id", "inputs", "limit", "weight"}
    assert json.loads(rated_spec().canonical())["metrics"][1]["of"] == "temporal-flickering@1"


def test_blocks_of_ratings_come_last_and_move_no_other_lane() -> None:
    alone = layout_of(make_spec([FLICKERING], models=("alpha", "beta", "gamma")))
    both = layout_of(make_spec([PREFERENCE, FLICKERING], models=("alpha", "beta", "gamma")))
    assert both.blocks[: len(alone.blocks)] == alone.blocks
    assert [block.name for block in both.blocks[len(alone.blocks) :]] == ["ratings/raters/preference-bt@1/wins"]


def test_raters_are_paid_for() -> None:
    """Blocks of ratings are private: they carry noise, and a spec with them alone costs privacy budget."""
    terms = seal_terms(rated_spec([PREFERENCE]), range(4))
    found = account(terms.calibration)
    assert found.rho is not None
    assert found.rho > 0
    assert terms.layout.private_lanes == 6


@pytest.mark.parametrize(
    ("metric", "place", "words"),
    [
        (PREFERENCE | {"inputs": "public"}, "inputs", "preference-bt@1 takes people's ratings alone"),
        (PREFERENCE | {"inputs": "private"}, "inputs", "preference-bt@1 takes people's ratings alone"),
        (FLICKERING | {"inputs": "ratings"}, "inputs", 'temporal-flickering@1 takes clips: "public" or "private"'),
        (PREFERENCE | {"of": "temporal-flickering@1"}, "of", "is not used by preference-bt@1; remove it"),
        (PREFERENCE | {"limit": "1"}, "limit", "is not used by preference-bt@1; remove it"),
        (FLICKERING | {"of": "temporal-flickering@1"}, "of", "is not used by temporal-flickering@1; remove it"),
        (
            CORRELATION | {"of": None},
            "of",
            "is missing; human-correlation@1 needs the metric whose scores it correlates",
        ),
        (CORRELATION | {"of": "spearman@1"}, "of", "does not federate"),
        (CORRELATION | {"of": "latency@1", "limit": "9"}, "of", "latency@1 gives no score of what a clip shows"),
        (
            CORRELATION | {"of": "dynamic-degree-dis@1"},
            "of",
            "dynamic-degree-dis@1 gives no score of what a clip shows",
        ),
        (CORRELATION | {"of": "fd-clip@1"}, "of", "fd-clip@1 gives no score"),
        (CORRELATION | {"of": "preference-bt@1"}, "of", "preference-bt@1 gives no score"),
        (CORRELATION | {"of": "clip-score@1"}, "extractor", "is missing; clip-score@1 needs a CLIPModel"),
        (CORRELATION | {"extractor": "tiny-clip"}, "extractor", "is not used by temporal-flickering@1; remove it"),
        (CORRELATION | {"of": "motion-magnitude-dis@1"}, "limit", "is missing; motion-magnitude-dis@1 needs it"),
        (CORRELATION | {"of": "psnr@1"}, "id", "psnr@1 compares a clip with the picture or video it starts from"),
        (CORRELATION | {"features": 8}, "features", "is not used by temporal-flickering@1; remove it"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(metric: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as refusal:
        layout_of(make_spec([metric], generation={"private_share": 1}))
    assert refusal.value.field == f"metrics.0.{place}"


def test_one_model_cannot_be_preferred() -> None:
    with pytest.raises(SpecError, match="compares models, and the spec has one alone"):
        layout_of(make_spec([PREFERENCE], models=("alpha",)))


SCORED = [
    name for name, row in CATALOGUE.items() if row.finish == "mean" and not {"timing", "condition"} & set(row.needs)
]


@pytest.mark.parametrize("name", SCORED)
def test_every_score_of_what_a_clip_shows_can_be_correlated(name: str) -> None:
    row = CATALOGUE[name]
    metric = CORRELATION | {"of": name} | ({"limit": "4"} if row.limit else {})
    extractors = []
    if row.architectures:
        metric |= {"extractor": "seen"}
        extractors = [
            {"id": "seen", "architecture": row.architectures[0], "manifest": "sha256:" + "a" * 64, "dimension": 4}
        ]
    spec = make_spec([metric], extractors=extractors, video={"height": 64, "width": 64})
    assert [block.dims for block in layout_of(spec).blocks] == [12]


def test_the_models_are_at_most_as_many_lanes_as_a_session_takes() -> None:
    spec = rated_spec()
    many = tuple(spec.models[0].model_copy(update={"id": f"m{number}"}) for number in range(64))
    assert layout_of(spec.model_copy(update={"models": many})).lanes == 64 * 63 + 64 * 6
