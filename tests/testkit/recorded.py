"""An egress journal in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from vdb_participant.site.egress_format import Departure


@dataclass
class Recorded:
    """Keeps what was recorded; implements Egress."""

    departures: list[Departure] = field(default_factory=list)

    def record(self, departure: Departure) -> None:
        self.departures.append(departure)
