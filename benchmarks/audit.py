"""How long an audit takes, what memory it needs and how large bundles are, by the number of lanes.

    python benchmarks/audit.py [--json FILE] [--institutions 20]

Real sessions: a running coordinator and members that play every round over gRPC with made-up statistics of one spec, whose
kernel distance has more and more features. Each bundle is then verified by `vdb-audit` as a program, with the consortium's log;
memory is what the system saw of it. Bounds stand at 100,000 lanes; time should grow no faster than lanes. What a program needs
to start, most of it the import of dp-accounting with scipy.signal, stands beside the time of the audit itself.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rows import Row, report

from testkit.coordinator import Identity, RunningCoordinator, running_coordinator
from testkit.made_up import noised_lanes
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.small_specs import small_spec
from vdb_shared.audit.log_files import fetch_from
from vdb_shared.audit.verify import verify
from vdb_shared.layout import layout_of
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Spec
from vdb_shared.tasks import public_tasks, shard
from vdb_shared.wire.status import Phase

FEATURES: Final = (800, 2400, 8320, 16384)
"""Random features of the kernel distance: some 10,000, 30,000, 100,000 and 200,000 lanes."""

BOUNDED: Final = 8320
AUDITS: Final = 5
GROWING: Final = 25
"""Audits of each bundle from which growth is told, by the least processor time: a few hundredths of a second drown in what else
a machine does."""

SECONDS: Final = 1.0
MEGABYTES: Final = 300.0
BUNDLE_MEGABYTES: Final = 1.2
GROWTH: Final = 1.5
"""How much more a lane may cost from 100,000 to 200,000 than up to there."""

WATCHED: Final = """
import resource, subprocess, sys, time
began = time.monotonic()
status = subprocess.run(sys.argv[1:]).returncode
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
"""A small program that runs another one: what this large one would start is taken to be as large as itself."""

METRICS: Final = """[
  {{ id = "temporal-flickering@1", inputs = "public" }},
  {{ id = "clip-score@1", inputs = "private", extractor = "tiny-clip" }},
  {{ id = "mmd-rff@1", inputs = "public", extractor = "tiny-videomae", features = {features}, bandwidth = 1.0 }},
]"""


@dataclass(frozen=True)
class Audited:
    """Audits of one bundle.

    Attributes:
        lanes: of its session.
        size: bytes.
        seconds: median of audits, libraries loaded.
        work: least processor seconds of one.
        program: median of whole programs.
        memory: most bytes that one of them held.
    """

    lanes: int
    size: int
    seconds: float
    work: float
    program: float
    memory: int


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--institutions", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_coordinator(Path(folder), chosen.institutions) as coordinator:
        found = {features: audited(coordinator, Path(folder), features) for features in FEATURES}
    rows: list[Row] = []
    for features, one in found.items():
        name, bounded = f"{one.lanes} lanes", features == BOUNDED
        rows += [
            Row(f"{name}: verify, median", one.seconds, "s", SECONDS if bounded else None),
            Row(f"{name}: verify, least processor time", one.work, "s"),
            Row(
                f"{name}: verify, whole program with its start, median",
                one.program,
                "s",
                SECONDS if bounded else None,
            ),
            Row(f"{name}: most memory", one.memory / 1e6, "MB", MEGABYTES if bounded else None),
            Row(f"{name}: bundle", one.size / 1e6, "MB", BUNDLE_MEGABYTES if bounded else None),
        ]
    few, _, many, most = found.values()
    before = (many.work - few.work) / (many.lanes - few.lanes)
    after = (most.work - many.work) / (most.lanes - many.lanes)
    rows.append(Row("time of a further lane above 100,000, over that of one below", after / before, "x", GROWTH))
    return report(rows, f"{chosen.institutions} institutions, {GROWING} audits of each bundle", chosen.json)


def audited(coordinator: RunningCoordinator, folder: Path, features: int) -> Audited:
    """Return what audits of a session's bundle take."""
    spec = spec_of(features, len(coordinator.identities))
    bundle = folder / f"{features}.vdbb"
    bundle.write_bytes(published(coordinator, spec))
    command = [sys.executable, "-m", "vdb_shared.audit.start", "verify", str(bundle)]
    command += ["--root", coordinator.root_fingerprint, "--log", str(coordinator.home.log)]
    times, memory = [], 0
    for _ in range(AUDITS):
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        said = done.stdout.decode(errors="replace")
        if done.returncode:
            raise RuntimeError(f"the audit failed: {said[:6000]}")
        seconds, kilobytes = said.splitlines()[-1].split()
        times.append(float(seconds))
        memory = max(memory, int(kilobytes) * 1024)
    data, fetch, own, work = bundle.read_bytes(), fetch_from(str(coordinator.home.log)), [], []
    for _ in range(1 + GROWING):
        began, spent = time.monotonic(), time.process_time()
        verify(data, root=coordinator.root_fingerprint, fetch=fetch).require()
        own.append(time.monotonic() - began)
        work.append(time.process_time() - spent)
    lanes, median = layout_of(spec).lanes, statistics.median(own[1:])
    return Audited(lanes, len(data), median, min(work), statistics.median(times), memory)


def spec_of(features: int, institutions: int) -> Spec:
    """Return a spec with so many random features."""
    return small_spec(
        cohort=f"{{ minimum = {institutions}, collusion = 1, dropout = 0 }}",
        privacy="{ epsilon = 8, delta = 1e-6, maximum_records = 400 }",
        deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }",
        metrics=METRICS.format(features=features),
    )


def published(coordinator: RunningCoordinator, spec: Spec) -> bytes:
    """Return the bundle of a session that everybody played to its end."""
    session = coordinator.admin.create_session(spec)
    with ExitStack() as stack:
        members = [stack.enter_context(_member(coordinator, each, session, spec)) for each in coordinator.identities]
        play(members, *STEPS)
        members[0].wait(Phase.PUBLISHED)
    return coordinator.admin.bundle(session)


def _member(coordinator: RunningCoordinator, identity: Identity, session: str, spec: Spec) -> TestMember:
    """Return a member whose lanes and declarations fit together."""
    terms = seal_terms(spec, range(len(coordinator.identities)))
    lanes = noised_lanes(spec, terms, "audit", identity.seat)
    clips = len(shard(public_tasks(spec), terms.position(identity.seat), len(terms.seats)))
    return TestMember(coordinator, identity, session, lanes=lanes, clips=clips)


if __name__ == "__main__":
    sys.exit(main())
