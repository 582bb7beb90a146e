"""The catalogue's rows are complete and consistent."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.catalogue import CATALOGUE, MetricDefinition, definition_of, refusals

PINNED = Path(__file__).with_name("definitions.json")


@pytest.mark.parametrize("definition", CATALOGUE.values(), ids=str)
def test_every_metric_is_fully_described(definition: MetricDefinition) -> None:
    assert CATALOGUE[definition.id] is definition
    assert definition.id.partition("@")[2].isdigit()
    assert all((definition.title, definition.definition, definition.citation, definition.oracle))
    assert bool(definition.weights_licence) == bool(definition.architectures)
    assert definition.high is None or definition.high > definition.low


def test_private_scores_have_no_histogram() -> None:
    definition = definition_of("temporal-flickering@1")
    assert [part.name for part in definition.parts(private=True)] == ["moments"]
    assert [part.name for part in definition.parts(private=False)] == ["moments", "histogram"]


def test_parts_have_the_dimensions_of_their_features() -> None:
    (moments,) = definition_of("frechet-videomae@1").parts(private=True, dimension=64)
    embedding, _ = definition_of("mmd-rff@1").parts(private=True, features=1024)
    assert (moments.dims, moments.bound_squared) == (2144, 2)
    assert (embedding.dims, embedding.bound_squared) == (1024, 1)


def test_an_unknown_metric_is_refused_with_one_that_is_near() -> None:
    with pytest.raises(StatisticError, match=r"unknown metric 'clip-scores@1'; did you mean clip-score@1"):
        definition_of("clip-scores@1")
    with pytest.raises(StatisticError, match=r"known are fvd-i3d@1.*latency@1"):
        definition_of("qqq@1")


@pytest.mark.parametrize("name", [name for refusal in refusals() for name in refusal.names])
def test_what_does_not_federate_is_refused_with_the_reason_and_an_alternative_that_exists(name: str) -> None:
    with pytest.raises(StatisticError, match=r"does not federate: .*; ask for "):
        definition_of(f"{name}@1")
    refusal = next(refusal for refusal in refusals() if name in refusal.names)
    named = [word.strip(",;") for word in refusal.instead.split() if "@" in word]
    assert all(word in CATALOGUE for word in named)
    assert f"{name}@1" not in CATALOGUE


def test_a_definitions_digest_covers_every_field() -> None:
    definition = definition_of("fvd-i3d@1")
    changes: dict[str, object] = {
        "id": "fvd-i3d@2", "title": "x", "definition": "x", "direction": "higher", "unit": "s", "low": Decimal("-1"),
        "high": Decimal(9), "architectures": (), "features_of": "frames", "dimension": 3, "finish": "mean", "ddof": 1,
        "limit": "allowed", "needs": ("prompt",),
        "least_frames": 2, "least_side": 2, "citation": "x", "weights_licence": "x", "oracle": "x",
    }  # fmt: skip
    assert set(changes) == set(MetricDefinition.model_fields)
    digests = {definition.model_copy(update={name: value}).digest for name, value in changes.items()}
    assert len(digests | {definition.digest}) == len(changes) + 1


def test_digests_of_published_definitions_do_not_change() -> None:
    """A changed definition needs a new version, since results that name the id would mean something else."""
    found = {name: definition.digest for name, definition in CATALOGUE.items()}
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    assert found == pinned
