"""What the coordinator can take: latency of the rounds, parked agents, many sessions, uploads, rates.

    python benchmarks/coordinator.py [--json FILE] [--quick]

`vdb-coordinator serve` runs as a process of its own and is measured from outside. Participants (`coordinator_parties.py`) speak
the real protocol over mutual TLS on loopback, in two or four other processes that share the machine's cores with it. So wall
seconds are what coordinator and all participants need together, as if all institutions sat on this one machine; processor
seconds are the coordinator's own. `--quick` takes fewer of everything, and its rows say how many.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from audit import spec_of
from coordinator_parties import Crew, Job, Place, Played
from cryptography import x509
from rows import Row, report

from testkit.coordinator import CONSORTIUM, Identity, RunningCoordinator
from testkit.coordinator_process import Process, Program, persistently
from testkit.crowd import crowd
from testkit.postgres import PostgresError, running_postgres
from testkit.small_specs import small_spec
from vdb_coordinator.commands.administration import Administration
from vdb_coordinator.config import Home
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.keys import key_pem, new_tls_key, read_tls_key
from vdb_shared.layout import layout_of
from vdb_shared.secagg.vectors import vector_bytes
from vdb_shared.spec import Spec
from vdb_shared.wire import federation_pb2 as pb

LATENCY_BOUND: Final = 1.0
"""Seconds from the last masked input to the published bundle at n = 20, d = 1e5."""

TOLD_TIMES: Final = 3
PARKED_MEGABYTES: Final = 150.0
PARKED_SECONDS: Final = 0.3
FEATURES: Final = {10_000: 800, 100_000: 8320, 200_000: 16384}
"""Random features of a spec with about so many lanes."""

BOUNDED: Final = (20, 100_000)
SMALL: Final = 5
"""Participants of each of many sessions."""

CALLS_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    latencies: tuple[tuple[int, int], ...]
    repetitions: int
    parked: int
    sessions: int
    compared: int
    seconds: float


WHOLE: Final = Scale(((5, 100_000), (20, 10_000), BOUNDED, (20, 200_000), (40, 100_000)), 5, 1000, 100, 40, 4.0)
QUICK: Final = Scale(((5, 10_000), BOUNDED), 1, 100, 10, 10, 1.0)


@dataclass(frozen=True)
class Served:
    """A coordinator's process and its institutions."""

    process: Process
    identities: list[Identity]
    admin: Administration
    home: Home

    @property
    def place(self) -> Place:
        """Where it listens."""
        return Place(self.process.address)


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    scale = QUICK if chosen.quick else WHOLE
    rows = latencies(scale) + parked(scale) + sessions(scale) + stores(scale) + rates(scale)
    return report(rows, f"medians of {scale.repetitions}, other work on the machine", chosen.json)


@contextmanager
def served(institutions: int, database: str | None = None) -> Iterator[Served]:
    """Yield a serving process with so many institutions."""
    with tempfile.TemporaryDirectory() as folder:
        coordinator = RunningCoordinator(Path(folder) / "coordinator", database=database)
        identities = crowd(coordinator, institutions)
        coordinator.start()
        coordinator.stop()
        process = Process(coordinator, Path(folder) / "log")
        try:
            process.wait_until_it_listens()
            yield Served(process, identities, coordinator.admin, coordinator.home)
        finally:
            coordinator.stop()
            process.kill()


def latencies(scale: Scale) -> list[Row]:
    """Return seconds from the last masked input to the published bundle, and upload throughput, by n and d."""
    found: list[Row] = []
    with Crew(2) as crew:
        for institutions, lanes in scale.latencies:
            with served(institutions) as running:
                found += _latency(running, crew, spec_of(FEATURES[lanes], institutions), scale.repetitions)
    return found


def _latency(running: Served, crew: Crew, spec: Spec, repetitions: int) -> list[Row]:
    institutions, lanes = len(running.identities), layout_of(spec).lanes
    taken, own, rates = [], [], []
    for _ in range(repetitions):
        session, described, before = (
            running.admin.create_session(spec),
            (spec.canonical(), institutions),
            running.process.seconds,
        )
        played = _checked(
            crew.play(
                [
                    Job(running.place, each, session, described, institutions - 1 if each.seat == 0 else 0)
                    for each in running.identities
                ]
            )
        )
        last = max(played, key=lambda one: one.uploading)
        taken.append(min(one.ended for one in played) - last.uploading)
        own.append(running.process.seconds - before)
        rates.append(vector_bytes(lanes) / 1e6 / (last.uploaded - last.uploading))
    name, bounded = f"n={institutions}, d={lanes}", (institutions, round(lanes, -4)) == BOUNDED
    return [
        Row(
            f"{name}: last masked input to published bundle, median",
            statistics.median(taken),
            "s",
            LATENCY_BOUND if bounded else None,
        ),
        Row(f"{name}: the same, slowest of {repetitions}", max(taken), "s"),
        Row(f"{name}: processor time of the coordinator, whole session", statistics.median(own), "s"),
        Row(f"{name}: upload of one vector until its receipt", statistics.median(rates), "MB/s"),
    ]


def parked(scale: Scale) -> list[Row]:
    """Return what so many watching institutions cost, and how soon all of them are told news; and the same of a bare server."""
    with served(scale.parked) as running:
        first, alone, held = running.process.memory, 0, 0
        told = []
        with Crew(4) as crew:
            for _ in range(TOLD_TIMES):
                session = running.admin.create_session(_small(scale.parked))
                alone = alone or running.process.memory
                found = crew.park(running.place, running.identities, session)
                held = held or running.process.memory
                began = time.monotonic()
                running.admin.abort_session(session, "the benchmark is over")
                told.append([when - began for share in found for when in share.result()])
        bare_first, bare_held, bare_told = _bare(running.identities, running.home)
    name = f"{scale.parked} parked"
    bare = f"{name} at a bare gRPC server"
    return [
        Row(f"{name}: resident memory after the start", first / 1e6, "MB"),
        Row(f"{name}: resident memory with an open session", alone / 1e6, "MB"),
        Row(f"{name}: resident memory", held / 1e6, "MB", PARKED_MEGABYTES),
        Row(f"{name}: each of them", (held - alone) / 1e3 / scale.parked, "kB"),
        Row(f"{name}: from the lead's call until all are told", _middle(told, max), "s", PARKED_SECONDS),
        Row(f"{name}: until half of them are", _middle(told, statistics.median), "s"),
        Row(f"{bare}: resident memory", bare_held / 1e6, "MB"),
        Row(f"{bare}: each of them", (bare_held - bare_first) / 1e3 / scale.parked, "kB"),
        Row(f"{bare}: until all are told", _middle(bare_told, max), "s"),
        Row(f"{bare}: until half of them are", _middle(bare_told, statistics.median), "s"),
    ]


def _middle(told: list[list[float]], of: Callable[[list[float]], float]) -> float:
    """Return the median over several times that all were told."""
    return statistics.median(map(of, told))


@contextmanager
def bare_server(home: Home) -> Iterator[tuple[Program, Place]]:
    """Yield `bare_server.py` under a certificate of a coordinator's authority."""
    authority = CertificateAuthority(
        x509.load_pem_x509_certificate(home.ca_certificate.read_bytes()), read_tls_key(home.key("ca"), None)
    )
    key = new_tls_key()
    name = spiffe_id(CONSORTIUM, "coordinator", "bare")
    chain = authority.issue_server(key.public_key(), name, ("127.0.0.1",), datetime.now(UTC)) + authority.pem
    first, news = (pb.WatchSessionResponse(status=pb.SessionStatus(event=event)) for event in (1, 2))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for file, data in (("key.pem", key_pem(key, None)), ("chain.pem", chain), ("ca.pem", authority.pem)):
            (folder / file).write_bytes(data)
        for file, message in (("first", first), ("news", news)):
            (folder / file).write_bytes(message.SerializeToString())
        words = [sys.executable, str(Path(__file__).with_name("bare_server.py")), place, str(folder / "port")]
        process = Program(subprocess.Popen(words))
        try:
            port = persistently((folder / "port").read_text)
            yield process, Place(f"127.0.0.1:{port}")
        finally:
            process.kill()


def _bare(identities: list[Identity], home: Home) -> tuple[int, int, list[list[float]]]:
    """Return bytes that a bare server holds before and with its watchers, and when each was told, several times."""
    sizes, told = [], []
    for _ in range(TOLD_TIMES):
        with Crew(4) as crew, bare_server(home) as (process, place):
            first = process.memory
            found = crew.park(place, identities, "none")
            sizes.append((first, process.memory))
            began = time.monotonic()
            process.send(signal.SIGUSR1)
            told.append([when - began for share in found for when in share.result()])
    return *sizes[0], told


def sessions(scale: Scale) -> list[Row]:
    """Return how many sessions at once fail, and how long all of them take."""
    with served(SMALL) as running, Crew(4) as crew:
        seconds, errors = _sessions(running, crew, scale.sessions)
        memory, own = running.process.memory, running.process.seconds
    name = f"{scale.sessions} sessions at once"
    return [
        Row(f"{name}: participants that failed", float(errors), "", 0.0),
        Row(f"{name}: all published after", seconds, "s"),
        Row(f"{name}: processor time of the coordinator for each", own / scale.sessions, "s"),
        Row(f"{name}: resident memory at the end", memory / 1e6, "MB"),
    ]


def stores(scale: Scale) -> list[Row]:
    """Return sessions a second on SQLite and on PostgreSQL."""
    found = []
    with served(SMALL) as running, Crew(2) as crew:
        found.append(_throughput("SQLite", running, crew, scale.compared))
    try:
        with running_postgres() as server, served(SMALL, server.database("vdb")) as running, Crew(2) as crew:
            found.append(_throughput("PostgreSQL", running, crew, scale.compared))
    except PostgresError as error:
        found.append(Row(f"PostgreSQL: not measured, {error}"[:72], None, "/s"))
    return found


def _throughput(name: str, running: Served, crew: Crew, count: int) -> Row:
    seconds, errors = _sessions(running, crew, count)
    if errors:
        raise RuntimeError(f"{errors} participants failed on {name}")
    return Row(f"{name}: sessions of {SMALL}, {count} at once", count / seconds, "/s")


def _sessions(running: Served, crew: Crew, count: int) -> tuple[float, int]:
    """Return seconds until all sessions are published, and how many participants failed."""
    names = [running.admin.create_session(_small(SMALL)) for _ in range(count)]
    began = time.monotonic()
    played = crew.play([Job(running.place, each, name) for name in names for each in running.identities])
    for error in sorted({one.error for one in played if one.error}):
        print(f"failed: {error}", file=sys.stderr)
    return time.monotonic() - began, sum(bool(one.error) for one in played)


def rates(scale: Scale) -> list[Row]:
    """Return how many short calls a second two processes get answered, and what one costs the coordinator."""
    found = []
    with served(SMALL) as running, Crew(2) as crew:
        session = running.admin.create_session(_small(SMALL))
        jobs = [Job(running.place, each, session) for each in running.identities]
        for method in ("Check", "GetSession", "ListSessions", "ReportProgress"):
            before = running.process.seconds
            called = crew.call(method, jobs, scale.seconds, CALLS_AT_ONCE)
            count, spent = sum(one.count for one in called), running.process.seconds - before
            if any(one.errors for one in called):
                raise RuntimeError(f"{method}: {[dict(one.errors) for one in called]}")
            found += [
                Row(f"{method}, {2 * CALLS_AT_ONCE} at once", count / scale.seconds, "/s"),
                Row(f"{method}: processor time of the coordinator for each", 1e3 * spent / count, "ms"),
            ]
    return found


def _small(institutions: int) -> Spec:
    return small_spec(
        cohort=f"{{ minimum = {institutions}, collusion = 1, dropout = 0 }}",
        privacy="{ epsilon = 8, delta = 1e-7, maximum_records = 400 }",
        deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }",
    )


def _checked(played: list[Played]) -> list[Played]:
    errors = sorted({one.error for one in played if one.error})
    if errors:
        raise RuntimeError(f"a session of the benchmark failed: {errors[:3]}")
    return played


if __name__ == "__main__":
    sys.exit(main())
