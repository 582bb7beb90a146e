"""The catalogue's rows are complete and consistent."""

from __future__ import annotations

import pytest

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.catalogue import CATALOGUE, MetricDefinition, definition_of


@pytest.mark.parametrize("definition", CATALOGUE.values(), ids=str)
def test_every_metric_is_fully_described(definition: MetricDefinition) -> None:
    assert CATALOGUE[definition.id] is definition
    assert definition.id.partition("@")[2].isdigit()
    assert all((definition.title, definition.definition, definition.citation))
    assert definition.high is None or definition.high > definition.low


def test_private_scores_have_no_histogram() -> None:
    definition = definition_of("temporal-flickering@1")
    assert [part.name for part in definition.parts(private=True)] == ["moments"]
    assert [part.name for part in definition.parts(private=False)] == ["moments", "histogram"]


def test_parts_have_the_dimensions_of_their_features() -> None:
    (moments,) = definition_of("frechet-videomae@1").parts(private=True, dimension=64)
    (embedding,) = definition_of("mmd-rff@1").parts(private=True, features=1024)
    assert (moments.dims, moments.bound_squared) == (2144, 2)
    assert (embedding.dims, embedding.bound_squared) == (1024, 1)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(StatisticError, match=r"'fvd@1'.*mmd-rff@1"):
        definition_of("fvd@1")
