"""Weights and clips that are made once for all tests of the participant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vdb_participant.measure.extractors.interface import LoadedExtractor


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tiny models and extractors; tests that change weights copy it first."""
    from vdb_participant.synthetic.models import build_all  # noqa: PLC0415 (imports diffusers, which takes seconds)

    folder = tmp_path_factory.mktemp("models")
    build_all(folder)
    return folder


@pytest.fixture(scope="session")
def site_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of twelve synthetic clips with prompts; tests that change it copy it first."""
    from vdb_participant.embedded.scenes import write_site  # noqa: PLC0415 (imported when it is needed: loading it takes long)

    folder = tmp_path_factory.mktemp("data")
    write_site(folder, site=5, clips=12)
    return folder


@pytest.fixture(scope="session")
def extractor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tiny extractors, one of every architecture; tests that change them write their own."""
    from testkit.tiny_extractors import SMALL, write_extractor  # noqa: PLC0415 (beside what it is for)

    place = tmp_path_factory.mktemp("extractors")
    for architecture in SMALL:
        write_extractor(place, architecture)
    return place


@pytest.fixture(scope="session")
def loaded_extractors(extractor_folder: Path) -> Mapping[str, LoadedExtractor]:
    """The tiny extractors by architecture, on the CPU."""
    from testkit.tiny_extractors import SMALL, loaded_from  # noqa: PLC0415 (beside what it is for)

    return {name: loaded_from(extractor_folder / name.lower(), name) for name in SMALL}
