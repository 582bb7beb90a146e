"""What is refused, as the one line that people see."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vdb_shared.errors import VdbError


def refused(error: type[VdbError], attempt: Callable[[], object]) -> str:
    """Return the one line with which something is refused."""
    with pytest.raises(error) as caught:
        attempt()
    assert "\n" not in str(caught.value)
    return str(caught.value)
