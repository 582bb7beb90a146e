"""The demo, one of whose institutions speaks to the coordinator through a proxy that records every byte, from its enrolment on.

    PYTHONPATH=tests python -m testkit.tapped_demo TAP --out FOLDER --clips 30

Nothing of the demo is changed but the address in that institution's invitation. What the proxy saw is written to TAP as JSON:
size and SHA-256 of each message, and the bytes of all of them as gRPC frames them.
"""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testkit.wiretap import Wiretap, messages_in
from vdb_coordinator.config import Home
from vdb_participant.site.config import StateFolder
from vdb_participant.site.tls_files import read_pair
from vdb_shared.canonical import sha256_digest
from vdb_shared.wire.enrolment import InvitationFile, parse_invitation

PROGRAM: Final = Path(__file__).parents[2] / "deploy" / "demo" / "run.py"


@dataclass(frozen=True)
class Coordinator:
    """The demo's coordinator; implements wiretap.Tapped."""

    address: str
    home: Home


@dataclass(frozen=True)
class Caller:
    """What the institution shows; implements wiretap.Caller."""

    institution: str
    tls_key: bytes
    certificate_chain: bytes
    ca_certificate: bytes


def caller_of(state: StateFolder, invited: InvitationFile) -> Caller:
    """Return what an institution shows: the invitation's certificate until it has its own."""
    ca = invited.ca_certificate.encode()
    if state.config.exists():
        return Caller(invited.institution, *read_pair(state), ca)
    return Caller(invited.institution, invited.bootstrap_key.encode(), invited.bootstrap_certificate.encode() + ca, ca)


def tap(demo: Any, institution: str, folder: Path) -> Wiretap:
    """Put a proxy between an institution that was invited and the coordinator, and its address into the invitation."""
    place = demo.out / "sites" / institution / f"{institution}.invitation"
    invited, state = parse_invitation(place.read_bytes()), StateFolder(demo.site(institution))
    coordinator = Coordinator(invited.address, Home(demo.consortium))
    tapped = Wiretap(coordinator, lambda: caller_of(state, invited), folder)
    place.write_bytes(invited.model_copy(update={"address": tapped.address}).encode())
    return tapped


def main() -> int:
    """Run the demo, write what the proxy saw, and return the demo's exit code."""
    report, arguments = Path(sys.argv[1]), sys.argv[2:]
    program = runpy.run_path(str(PROGRAM), run_name="demo")
    institution, taps = program["INSTITUTIONS"][0], list[Wiretap]()

    def lead(demo: Any, *command: str | Path) -> str:
        done: str = program["Demo"].lead(demo, *command)
        if command[:2] == ("invite", institution):
            taps.append(tap(demo, institution, report.parent / "tap"))
        return done

    program["main"].__globals__["Demo"] = type("TappedDemo", (program["Demo"],), {"lead": lead})
    code: int = program["main"](arguments)
    streams = [stream for found in taps for stream in found.streams]
    messages = [message for stream in streams for message in messages_in(stream)]
    for found in taps:
        found.close()
    seen = {
        "institution": institution,
        "addresses": [found.address for found in taps],
        "messages": [[len(message), sha256_digest(message)] for message in messages],
        "bytes": sum(map(len, streams)),
    }
    report.write_text(json.dumps(seen))
    return code


if __name__ == "__main__":
    sys.exit(main())
