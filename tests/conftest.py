"""Markers: `gpu` tests are skipped, and listed, where there is no CUDA device. Tiny models run on one thread."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# No example is too slow: machines are shared. On CI the same examples are drawn each time; elsewhere new ones.
settings.register_profile("vdb", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("vdb")

# Tiny tensors on many threads take ten times as long as on one; set before torch is imported, also for subprocesses.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    import torch  # noqa: PLC0415 (takes seconds, and most tests need none of it)

    if not torch.cuda.is_available():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
