"""Specs that are compared with the plan's keep its digest, and nothing else of it that was changed."""

from __future__ import annotations

from testkit.metric_specs import FLICKERING, FRECHET, make_spec
from vdb_shared.planning.assumptions import variant


def test_a_variant_has_other_sections_and_the_same_digest() -> None:
    spec = make_spec([FLICKERING, FRECHET])
    other = variant(variant(spec, metrics=spec.metrics[:1]), title="Another")
    assert other.metrics == spec.metrics[:1]
    assert other.title == "Another"
    assert other.privacy == spec.privacy
    assert other.digest == spec.digest
    assert spec.metrics != other.metrics
    assert other.canonical() != spec.canonical()
