"""The table of architectures: one for all who write, check or load them."""

from __future__ import annotations

import pytest

from testkit.specs import TOML
from vdb_shared.errors import SpecError
from vdb_shared.metrics.catalogue import CATALOGUE
from vdb_shared.metrics.extractors import ARCHITECTURES, known_architecture
from vdb_shared.spec import parse_spec_toml


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_spec_may_name_every_architecture(name: str) -> None:
    spec = parse_spec_toml(TOML.replace('architecture = "VideoMAEModel"', f'architecture = "{name}"'))
    assert name in {extractor.architecture for extractor in spec.extractors}


def test_a_spec_may_name_no_other() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'CLIPmodel'; known are CLIPModel, Siglip"):
        known_architecture("CLIPmodel")
    with pytest.raises(SpecError, match=r"extractors\.1\.architecture: unknown architecture 'CLIPmodel'"):
        parse_spec_toml(TOML.replace('architecture = "VideoMAEModel"', 'architecture = "CLIPmodel"'))


def test_metrics_ask_for_known_architectures() -> None:
    assert {name for row in CATALOGUE.values() for name in row.architectures} <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_row_says_what_it_gives_under_which_licence(name: str) -> None:
    row = ARCHITECTURES[name]
    assert row.name == name
    assert row.gives
    assert len(set(row.gives)) == len(row.gives)
    assert all((row.dimension, row.preprocessing, row.licence))
    assert row.golden is None or row.golden
