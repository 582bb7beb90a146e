"""Databases: an SQLite file, and one of a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from testkit.postgres import PostgresServer, running_postgres

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgresql(postgres: PostgresServer) -> str:
    """The URL of a new database."""
    return postgres.database(f"unit-{next(_NUMBERS)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new database is, of either kind."""
    if request.param == "sqlite":
        return tmp_path / "db.sqlite"
    url: str = request.getfixturevalue("postgresql")
    return url
