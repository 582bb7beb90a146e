"""Programs that are too old: refused at every call, with what to do.

Promises that a program which states no version is taken for one of before versions were stated. Leaves what two programs can
to Negotiate.

Source: protos/README.md §11.9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from vdb_coordinator.refusals import RefusedError
from vdb_shared.wire import reasons
from vdb_shared.wire.versions import CURRENT, Version, stated

PROGRAM: Final = "vdb-coordinator"

_FREE: Final = ("/vdb.v1.ProtocolService/", "/grpc.health.v1.Health/")
"""What programs of every version may call."""


def check_version(method: str, metadata: Iterable[tuple[Any, ...]], oldest: Version) -> None:
    """Check that the version which a call states is one that this coordinator speaks.

    Raises:
        RefusedError: it is older than `oldest`, or of a newer major version.
        FormatError: it is none.
    """
    if method.startswith(_FREE):
        return
    version = stated(metadata)
    if version < oldest:
        raise too_old(version, oldest)
    if version.major > CURRENT.major:
        raise RefusedError(
            reasons.VERSION,
            f"your program speaks protocol {version}, this coordinator {CURRENT} at most; ask the lead to update it",
        )


def too_old(found: Version, oldest: Version) -> RefusedError:
    """Return why a program of an old version is refused."""
    return RefusedError(
        reasons.VERSION,
        f"your program speaks protocol {found}, this coordinator wants {oldest} or newer: install a newer release of "
        "video-diffusion-bench, then run the command again; nothing is lost by that",
    )
