"""Bundles of small sessions in which a member lies about its own numbers, and everybody signs what follows from that."""

from __future__ import annotations

import numpy as np

from testkit.bundles import SmallSession, Surplus, small_session
from testkit.statements import Twist
from vdb_shared.bundle.record import SPEC
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.spec import parse_spec_json


def with_clips(session: SmallSession, block: str, change: float, lane: int = 0) -> bytes:
    """Let a member add so many clips to a lane of an exact block."""
    return with_lane(session, block, round(change * 2**session.terms.calibration.public_exponent), lane)


def with_half_clips(session: SmallSession) -> bytes:
    """Let a member move half a clip from one full bin of a histogram to another."""
    block = session.terms.layout.slice_of("public/tiny-wan-a/temporal-flickering@1/histogram")
    half = 2 ** (session.terms.calibration.public_exponent - 1)
    first, second = block.start + np.argsort(session.record.aggregate[block].astype(np.int64))[-2:]
    return with_surplus(session, ((int(first), half), (int(second), -half)))


def with_lane(session: SmallSession, block: str, change: int, lane: int = 0) -> bytes:
    """Let a member add to a lane of a block."""
    return with_surplus(session, ((session.terms.layout.slice_of(block).start + lane, change),))


def with_surplus(session: SmallSession, surplus: Surplus) -> bytes:
    """Return the bundle of a session in which a member adds to its lanes; everything else follows from that."""
    spec = parse_spec_json(session.members[SPEC])
    return small_session.__wrapped__(session.seed, spec, surplus=surplus).bundle()


def with_manifest(session: SmallSession, field: str, value: object, **generation: str) -> bytes:
    """Let a member declare another run, under a spec that says this about generation; everybody signs as if it were right."""
    spec = parse_spec_json(session.members[SPEC])
    spec = spec.model_copy(update={"generation": spec.generation.model_copy(update=generation)})
    return small_session.__wrapped__(session.seed, spec, twist=Twist(RunManifest, field, value)).bundle()
