"""Weights and clips that are made once for all tests of the participant."""

from __future__ import annotations

from pathlib import Path

import pytest


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
