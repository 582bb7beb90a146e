"""Sessions that simulated participants play together, step by step."""

from __future__ import annotations

import grpc

from testkit.members import TestMember
from testkit.refusals import reason_of
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

STEPS = ("join", "advertise", "share", "mask", "agree", "reveal", "countersign")
"""What a member does, in order, and the phase in which it does it."""

PHASES = (
    Phase.ACCEPTING,
    Phase.ADVERTISING_KEYS,
    Phase.SHARING_KEYS,
    Phase.MASKING_INPUT,
    Phase.CONSISTENCY,
    Phase.UNMASKING,
    Phase.FINALISING,
)


def play(members: list[TestMember], *steps: str) -> None:
    """Let all members do these steps, each when its phase has come; shares that a quorum made superfluous may be late."""
    for step in steps:
        members[0].wait(PHASES[STEPS.index(step)])
        for member in members:
            try:
                getattr(member, step)()
            except grpc.RpcError as error:
                if step != "reveal" or reason_of(error) != reasons.TOO_LATE:
                    raise
