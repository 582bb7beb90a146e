"""What secure aggregation costs: each round of participant and coordinator, masks, shares, commitments, and bytes.

    python benchmarks/secagg.py [--json FILE] [--quick] [--no-peer]

Runs whole sessions of 5, 20 and 100 participants with 1e3, 1e5 and 1e6 lanes in memory, and one of 1000 with 1e4
(`simulation.py`); compares masks and Shamir shares with those of Flower's SecAgg+, which is installed into an environment of
its own for that; and measures the floor: AES-256-CTR and memory bandwidth. Seconds of rounds are CPU seconds, medians over
the participants.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from rehearsal import Crew, Rehearsal, Stopwatch, consortium, here, random_lanes
from rows import Row, report
from simulation import simulate

from vdb_coordinator import rounds as coordinator_rounds
from vdb_participant.rounds import commit_entropy_bytes
from vdb_shared.secagg.commitments import commit, commitments_open
from vdb_shared.secagg.encoding import encode_lanes
from vdb_shared.secagg.field import reduce_uniform
from vdb_shared.secagg.parameters import share_threshold
from vdb_shared.secagg.shamir import combine, lagrange_at_zero, split, split_entropy
from vdb_shared.secagg.vectors import Vector

SIZES: Final = (1_000, 100_000, 1_000_000)
FLWR: Final = ("flwr==1.42.0", "pycryptodome", "numpy")
"""What the peer's two modules need; the rest of what the package asks for (gRPC, a command line) is left out."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Participants of one session.

    Attributes:
        size: n.
        collusion: c.
        before_input: how many drop out after sharing keys, before their masked input.
        after_input: how many drop out after it.
        cpu_bound: seconds of CPU that one participant may need at 1e5 lanes, without commitment and noise.
    """

    size: int
    collusion: int
    before_input: int
    after_input: int
    cpu_bound: float | None = None

    def __str__(self) -> str:
        return f"n={self.size}, {self.before_input}+{self.after_input} dropouts"


COHORTS: Final = (Cohort(5, 1, 0, 1), Cohort(20, 6, 3, 2, 0.015), Cohort(100, 33, 10, 10, 0.060))
ALL_BEFORE_INPUT: Final = Cohort(100, 33, 20, 0)


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--quick", action="store_true", help="leave out 1e6 lanes and 1000 participants")
    parser.add_argument("--no-peer", action="store_true", help="install and measure no other implementation")
    chosen = parser.parse_args()
    sizes = SIZES[:-1] if chosen.quick else SIZES
    rows = [row for lanes in sizes for cohort in COHORTS for row in session(cohort, lanes)]
    rows += session(ALL_BEFORE_INPUT, 100_000)
    rows += [row for lanes in sizes for row in commitment(lanes)]
    rows += [row for lanes in sizes for row in masks(lanes)]
    rows += [row for cohort in COHORTS for row in sharing(cohort)]
    rows += peer(sizes, "" if not chosen.no_peer else "left out by --no-peer")
    if not chosen.quick:
        rows += simulate(1000, 10_000, 100, os.cpu_count() or 1)
    return report(rows, "CPU seconds, medians", chosen.json)


def session(cohort: Cohort, lanes: int) -> list[Row]:
    """Run a session and return what its rounds cost and how many bytes they move."""
    parameters, keys = consortium(cohort.size, cohort.collusion, lanes)
    inputs = dict.fromkeys(keys, random_lanes(lanes)) | {0: random_lanes(lanes)}
    crew = Crew(parameters, keys, inputs)
    rehearsal = Rehearsal(parameters, inputs, here(crew))
    leaving = sorted(keys)[1 : 1 + cohort.before_input + cohort.after_input]
    with _parts_of_unmasking(rehearsal.watch):
        rehearsal.run(leaving[: cohort.before_input], leaving[cohort.before_input :])
    title = f"{cohort}, d={lanes:g}"
    up, down = rehearsal.up[0], rehearsal.down[0]
    return [
        *_participant(title, crew.watch, cohort, lanes),
        *_coordinator(title, rehearsal.watch, cohort, lanes),
        Row(f"{title}: bytes up", up / 1000, "kB"),
        Row(f"{title}: bytes down", down / 1000, "kB"),
        Row(
            f"{title}: upload by that of the plain 64-bit vector",
            up / (8 * lanes),
            "x",
            1.05 if (cohort.size, lanes) == (20, 100_000) else None,
        ),
    ]


def _participant(title: str, watch: Stopwatch, cohort: Cohort, lanes: int) -> Iterator[Row]:
    spent = {name: statistics.median(watch.seconds[name]) for name in ("advertise", "share", "mask", "agree", "reveal")}
    for name, shown in zip(spent, ("advertise keys", "share keys", "open and mask", "agree", "reveal"), strict=True):
        yield Row(f"{title}: participant, {shown}", 1000 * spent[name], "ms")
    bound = cohort.cpu_bound if lanes == 100_000 else None
    total = sum(spent.values())
    yield Row(f"{title}: participant, all rounds without commit", 1000 * total, "ms", 1000 * bound if bound else None)


def _coordinator(title: str, watch: Stopwatch, cohort: Cohort, lanes: int) -> Iterator[Row]:
    rounds = ("advertise", "share", "mask", "agree")
    accepting = sum(sum(watch.seconds[name]) for name in rounds)
    unmasking, wall = (
        1000 * (sum(spent["recover"]) + sum(spent["remove_masks"])) for spent in (watch.seconds, watch.walls)
    )
    bounded = cohort.size == 100 and lanes == 100_000
    yield Row(f"{title}: coordinator, accept rounds 0 to 3 of all", 1000 * accepting, "ms")
    yield Row(f"{title}: coordinator, unmask, wall", wall, "ms", 300 if bounded else None)
    yield Row(f"{title}: coordinator, unmask, CPU of all threads", unmasking, "ms")
    yield Row(f"{title}: coordinator, open commitments to the sum", 1000 * sum(watch.seconds["sums_open"]), "ms")


@contextmanager
def _parts_of_unmasking(watch: Stopwatch) -> Iterator[None]:
    with (
        watch.listen(coordinator_rounds, "recover"),
        watch.listen(coordinator_rounds, "remove_masks"),
        watch.listen(coordinator_rounds, "sums_open"),
    ):
        yield


def commitment(lanes: int) -> list[Row]:
    """Commit to a vector, and check the commitments of twenty participants."""
    survivors, repetitions = 20, 5 if lanes <= 100_000 else 1
    values = encode_lanes(random_lanes(lanes))
    vector = Vector(values, reduce_uniform(os.urandom(commit_entropy_bytes(lanes))))
    committed = commit(vector.lanes, vector.blinders)
    wall, cpu = _medians(lambda: commit(vector.lanes, vector.blinders), repetitions)
    totals = vector.lanes * np.uint64(survivors)
    blinders = Vector(totals, [survivors * blinder for blinder in vector.blinders]).reduced_blinders()

    def check() -> None:
        if not commitments_open([committed] * survivors, totals, blinders):
            raise RuntimeError("the commitments do not open")

    check_wall, check_cpu = _medians(check, repetitions)
    scale = lanes / 100_000
    bounded = lanes >= 100_000
    return [
        Row(f"d={lanes:g}: commit, wall", wall, "s", 0.5 * scale if bounded else None),
        Row(f"d={lanes:g}: commit, CPU of all threads", cpu, "s"),
        Row(f"d={lanes:g}: audit commitments of {survivors}, wall", check_wall, "s"),
        Row(f"d={lanes:g}: audit commitments of {survivors}, CPU", check_cpu, "s", 0.15 * scale if bounded else None),
    ]


def masks(lanes: int) -> list[Row]:
    """Add a mask, and do what it cannot be faster than: the cipher, and an addition in memory."""
    vector = Vector.zeros(lanes)
    other = vector.lanes.copy()
    stream, zeros = bytearray(8 * lanes + 15), bytes(8 * lanes)
    repetitions = 101 if lanes <= 100_000 else 31
    mask, _ = _medians(lambda: vector.add_mask(os.urandom(32), 1), repetitions)
    cipher, _ = _medians(
        lambda: Cipher(AES256(os.urandom(32)), CTR(bytes(16))).encryptor().update_into(zeros, stream), repetitions
    )
    adding, _ = _medians(lambda: np.add(vector.lanes, other, out=vector.lanes), repetitions)
    return [
        Row(f"d={lanes:g}: one mask, drawn and added", 1e6 * mask, "us"),
        Row(f"d={lanes:g}: floor: AES-256-CTR of as many bytes", 1e6 * cipher, "us"),
        Row(f"d={lanes:g}: floor: AES-256-CTR", 8 * lanes / cipher / 1e9, "GB/s"),
        Row(f"d={lanes:g}: floor: addition of two vectors (3 x 8 bytes a lane)", 1e6 * adding, "us"),
        Row(f"d={lanes:g}: floor: memory bandwidth in it", 24 * lanes / adding / 1e9, "GB/s"),
        Row(f"d={lanes:g}: one mask by cipher and addition", mask / (cipher + adding), "x"),
    ]


def sharing(cohort: Cohort) -> list[Row]:
    """Split one secret and combine it again."""
    threshold = share_threshold(cohort.size, cohort.collusion)
    holders = range(cohort.size)

    def both() -> None:
        lagrange_at_zero.cache_clear()  # one cohort's first secret: later ones would find the coefficients
        secret = int.from_bytes(os.urandom(31), "little")
        shares = split(secret, threshold, holders, os.urandom(split_entropy(threshold)))
        if combine({seat: shares[seat] for seat in holders[:threshold]}) != secret:
            raise RuntimeError("the shares do not rebuild the secret")

    wall, _ = _medians(both, 21)
    return [Row(_sharing_name(cohort), 1e6 * wall, "us")]


def _sharing_name(cohort: Cohort) -> str:
    return f"n={cohort.size}, t={share_threshold(cohort.size, cohort.collusion)}: split and combine one secret"


def peer(sizes: tuple[int, ...], reason: str) -> list[Row]:
    """Return the peer's figures and how many times ours they are; rows without value and with the reason, if it cannot run.

    Ours are measured again right before and right after, so that what else the machine does meets both.
    """
    found: dict[str, list[float]] = defaultdict(list)
    sharings = [(cohort.size, share_threshold(cohort.size, cohort.collusion)) for cohort in COHORTS]
    theirs: dict[str, dict[str, float]] = {}
    if not reason:
        try:
            _note(found, sizes)
            theirs = _run_peer({"lanes": list(sizes), "sharings": sharings})
            _note(found, sizes)
        except (subprocess.CalledProcessError, OSError) as error:
            reason = f"{FLWR[0]} cannot be run: {_last_line(error)}"
    missing = f" (not measured: {reason})" if reason else ""
    rows = []
    for lanes in sizes:
        rows += _compare(
            f"d={lanes:g}: one mask, drawn and added",
            found,
            theirs.get("masking", {}).get(str(lanes)),
            missing,
            3.0 if lanes == 1_000_000 else None,
        )
        drawn = theirs.get("drawing", {}).get(str(lanes))
        rows.append(Row(f"d={lanes:g}: Flower, one mask, drawn only{missing}", 1e6 * drawn if drawn else None, "us"))
    for cohort in COHORTS:
        rows += _compare(
            _sharing_name(cohort),
            found,
            theirs.get("sharing", {}).get(str(cohort.size)),
            missing,
            100.0 if cohort.size == 100 else None,
        )
    return rows


def _note(found: dict[str, list[float]], sizes: tuple[int, ...]) -> None:
    measured = [row for lanes in sizes for row in masks(lanes)] + [row for cohort in COHORTS for row in sharing(cohort)]
    for row in measured:
        if row.value is not None:
            found[row.name].append(row.value)


def _compare(
    name: str, ours: dict[str, list[float]], theirs: float | None, missing: str, bound: float | None
) -> list[Row]:
    ratio = 1e6 * theirs / statistics.mean(ours[name]) if theirs else None
    return [
        Row(f"Flower, {name}{missing}", 1e6 * theirs if theirs else None, "us"),
        Row(f"Flower by ours, {name}{missing}", ratio, "x", bound, at_least=True),
    ]


def _run_peer(asked: dict[str, object]) -> dict[str, dict[str, float]]:
    """Install Flower beside us, not among our dependencies, and let it measure its own functions."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *FLWR]
        subprocess.run(install, check=True, capture_output=True, text=True)
        script = str(Path(__file__).with_name("flwr_peer.py"))
        done = subprocess.run([python, script, json.dumps(asked)], check=True, capture_output=True, text=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def _last_line(error: Exception) -> str:
    text = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    return (text or str(error)).strip().splitlines()[-1]


def _medians(call: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Return wall and CPU seconds of a call, medians."""
    walls, cpus = [], []
    for _ in range(repetitions):
        began, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


if __name__ == "__main__":
    sys.exit(main())
