"""A whole session in one process and a coordinator's, to be run under strace: says what is sent, seen and acknowledged.

    python -m testkit.faults.traced FOLDER

FOLDER is a scene that `power_losses` has set up. A line is written to FOLDER/../said before each message leaves an agent, and
after each receipt came.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testkit.coordinator import RunningCoordinator
from testkit.faults.agents import Seat as Home
from testkit.faults.agents import one_hot
from testkit.faults.supervision import Supervised
from testkit.institutions import no_passphrase
from vdb_participant.agent import Request, take_part
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Upload
from vdb_participant.session.preparation import Resources
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_shared.canonical import sha256_digest
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire import convert

SCENE: Final = "scene.pickle"
SAID: Final = "said"


class Telling(Client):
    """The real client, which says what it sends before it does, and what was acknowledged.

    Attributes:
        seat: whose.
        told: descriptor of the file.
    """

    def __init__(self, connection: Connection, seat: int, told: int) -> None:
        super().__init__(connection)
        self.seat, self.told = seat, told

    def say(self, *words: object) -> None:
        """Write one line."""
        os.write(self.told, (" ".join(map(str, (self.seat, *words))) + "\n").encode())

    def cosign(self, session: str, size: int, cosignature: bytes) -> None:
        self.say("cosigns", size)
        super().cosign(session, size, cosignature)

    def join(self, session: str, statement: bytes) -> None:
        digest = self._sends("Join", convert.join_digest(statement))
        super().join(session, statement)
        self._receipt("Join", digest)

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        digest = self._sends("AdvertiseKeys", convert.keys_digest(keys, attempt))
        super().advertise_keys(session, seat, attempt, keys)
        self._receipt("AdvertiseKeys", digest)

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        digest = self._sends("ShareKeys", convert.shares_digest(header, sealed, attempt))
        super().share_keys(session, seat, attempt, header, sealed)
        self._receipt("ShareKeys", digest)

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        digest = self._sends("UploadMaskedInput", convert.masked_digest(upload.header, upload.contribution, attempt))
        super().upload(session, seat, attempt, upload)
        self._receipt("UploadMaskedInput", digest)

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        digest = self._sends("SignConsistency", convert.consistency_digest(statement, attempt))
        super().sign_consistency(session, seat, attempt, statement)
        self._receipt("SignConsistency", digest)

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        digest = self._sends("RevealShares", convert.unmasking_digest(shares, attempt))
        super().reveal_shares(session, seat, attempt, shares)
        self._receipt("RevealShares", digest)

    def countersign(self, session: str, countersignature: bytes) -> None:
        digest = self._sends("Countersign", convert.countersign_digest(countersignature))
        super().countersign(session, countersignature)
        self._receipt("Countersign", digest)

    def _sends(self, kind: str, digest: bytes) -> str:
        self.say("sends", kind, digest.hex())
        return digest.hex()

    def _receipt(self, kind: str, digest: str) -> None:
        self.say("receipt", kind, digest)


def play(home: Home, seat: int, said: int) -> None:
    """Take part to the end, and say which result was kept."""
    site = open_site(StateFolder(home.folder), no_passphrase)
    with Client(Connection(site.config.address, site.tls, site.egress)) as first:
        first.sessions()  # a first call, as `vdb-participant sessions` makes it
    with Telling(Connection(site.config.address, site.tls, site.egress), seat, said) as link:
        outcome = take_part(
            site, link, Request(home.session, Resources(home.data, home.models), lambda _plan: None, measure=one_hot)
        )
        link.say("kept", sha256_digest(outcome.bundle.read_bytes()))


def main() -> int:
    """Play the session; return 1 if somebody did not end it."""
    place = Path(sys.argv[1])
    home, address, seats = pickle.loads((place / SCENE).read_bytes())  # noqa: S301 - written by the process that starts this one
    coordinator = RunningCoordinator(home)
    coordinator.address = address
    said = os.open(place / SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Supervised(coordinator) as process:
        threads = [threading.Thread(target=play, args=[home, seat, said]) for seat, home in enumerate(seats)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.stop()
    return 0 if Path(place / SAID).read_text().count(" kept ") == len(seats) else 1


if __name__ == "__main__":
    sys.exit(main())
