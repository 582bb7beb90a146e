from __future__ import annotations

from functools import cache

import pytest

from testkit.audit_commands import NARROW
from testkit.bundles import SmallSession, small_session
from testkit.opened_lines import Story, kept_list
from testkit.small_specs import SPEC, small_spec
from testkit.time_authority import Authority


@pytest.fixture(scope="session")
def session() -> SmallSession:
    """A published session that verifies; without a Fréchet distance, whose interval takes most of an audit's time."""
    metrics = SPEC[SPEC.index("metrics = [") :].removeprefix("metrics = ")
    return small_session(
        0, small_spec(metrics="\n".join(line for line in metrics.splitlines() if "frechet" not in line))
    )


@pytest.fixture(scope="session")
def plain() -> SmallSession:
    """A smaller session whose figures are quick to compute, for tests that verify hundreds of bundles."""
    spec = small_spec(
        prompts='[{ id = "circle", text = "a red circle" }]',
        models=f'[{{ id = "tiny", pipeline = "WanPipeline", manifest = "sha256:{"a" * 64}" }}]',
        extractors="[]",
        metrics='[{ id = "temporal-flickering@1", inputs = "private" }]',
    )
    return small_session(1, spec)


@cache
def _story() -> Story:
    return Story(kept_list())


@pytest.fixture
def story() -> Story:
    """A story of a spot check that is told once for all tests; what it opens is the same each time."""
    return _story()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """An authority for time stamps."""
    return Authority()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands print as on a terminal of few columns, and find no passphrase in the environment."""
    monkeypatch.setenv("COLUMNS", str(NARROW))
    monkeypatch.delenv("VDB_PASSPHRASE", raising=False)
