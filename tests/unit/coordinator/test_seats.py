"""No seat is given twice, whoever left meanwhile, and also after a restart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from testkit.coordinator import RunningCoordinator
from testkit.crowd import crowd
from vdb_coordinator.identity.roster_key import read_roster_key
from vdb_coordinator.identity.rosters import RosterAuthority, Seats, without_member
from vdb_coordinator.store.database import Database


def test_the_seat_of_one_who_left_is_not_given_again(tmp_path: Path) -> None:
    coordinator = RunningCoordinator(tmp_path / "coordinator")
    crowd(coordinator, 3)
    home = coordinator.home
    rosters = RosterAuthority(home.read_roots(), read_roster_key(home, None))
    seats = Seats()

    def next_seat(connection: Connection, known: Seats, institution: str = "newcomer") -> int:
        return known.seat_for(connection, rosters.newest(connection).roster, institution)

    def leave(connection: Connection) -> None:
        newest = rosters.newest(connection)
        rosters.store(connection, without_member(newest.roster, "site-2"), newest.version + 1, datetime.now(UTC))

    database = Database(home.sqlite)
    try:
        assert database.run_now(lambda connection: next_seat(connection, seats)) == 3
        assert database.run_now(lambda connection: next_seat(connection, seats, "site-1")) == 1
        database.run_now(leave)
        assert database.run_now(lambda connection: next_seat(connection, seats)) == 3
        assert database.run_now(lambda connection: next_seat(connection, Seats())) == 3
        assert database.run_now(lambda connection: next_seat(connection, seats, "site-2")) == 3
    finally:
        database.close()
