"""Fuzzing of the verifier's parsers by atheris: inputs are bred for the branches of the product that they reach.

    PYTHONPATH=tests python -m testkit.guided_fuzzing [--seconds 600] [--seed 1] [--parser NAME]…

Promises what `fuzzing.py` does, nothing but declared errors and bytes that are written back as they were, for inputs that
libFuzzer makes from the same good ones, every second one by the same damage. Each parser has a process of its own and an equal
share of the time; what is found is printed with the bytes that show it, and 1 is returned.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

OVERHEAD: Final = 600.0
"""Seconds that a process may take beyond its share: for instrumentation, and for an input that takes long."""

LONGEST: Final = 1 << 20
SLOW: Final = 10
MEMORY: Final = 4096
"""Limits of libFuzzer: bytes of an input, seconds of an answer, megabytes of a process."""


def target(name: str, good: Path, settings: list[str]) -> None:
    """Fuzz one parser in this process, which ends with it.

    Args:
        name: of the parser.
        good: folder of good inputs.
        settings: for libFuzzer, and a folder for what it breeds, if any.
    """
    import atheris  # noqa: PLC0415  # only here: it is a compiled extension, which not every machine has

    with atheris.instrument_imports(include=["vdb_shared"]):
        from testkit.damage import damaged  # noqa: PLC0415  # instrumented
        from testkit.parsers import PARSERS  # noqa: PLC0415  # instrumented

    parser, known = PARSERS[name], [file.read_bytes() for file in sorted(good.iterdir())]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)  # noqa: S311  # damage, no secrets
        found = damaged(data, dice, known) if dice.random() < 0.5 else bytes(atheris.Mutate(data, most))
        return found[:most]

    def feed(data: bytes) -> None:
        problem = parser.problem(data)
        if problem:
            sys.stderr.write(json.dumps({"problem": problem, "input": data[:4096].hex()}) + "\n")
            os.abort()

    atheris.Setup([name, *settings, str(good)], feed, custom_mutator=mutate)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, seed: int) -> tuple[int, int, str]:
    """Fuzz one parser in a process of its own.

    Returns:
        How many inputs it was fed, how many edges of the product they reached, and the problem, or "".
    """
    from testkit.fuzzing import corpus_of, seeds  # noqa: PLC0415  # the target's process has to instrument it

    with tempfile.TemporaryDirectory() as folder:
        bred, good = Path(folder, "bred"), Path(folder, "good")
        for part in (bred, good):
            part.mkdir()
        for number, data in enumerate([*seeds()[name], *corpus_of(name)]):
            (good / str(number)).write_bytes(data)
        settings = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST}", f"-timeout={SLOW}"]
        limits = [f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=1"]
        try:
            done = subprocess.run(
                [sys.executable, "-m", __spec__.name, "--target", name, good, *settings, *limits, bred],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds + OVERHEAD,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        except subprocess.TimeoutExpired:
            return 0, 0, f"did not end within {seconds + OVERHEAD:.0f} s"
    fed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    said = [line for line in done.stderr.splitlines() if line.startswith('{"problem"')]
    problem = said[-1] if said else done.stderr[-2000:] if done.returncode else ""
    return int(fed[1]) if fed else 0, int(edges[-1]) if edges else 0, problem


def main() -> int:
    """Fuzz every parser for its share of the time; return 1 when there was a problem."""
    if sys.argv[1:2] == ["--target"]:
        target(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    from testkit.parsers import PARSERS  # noqa: PLC0415  # the target's process has to instrument it

    parser = argparse.ArgumentParser(description="Feed the verifier's parsers with inputs that atheris breeds.")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parser", action="append", choices=list(PARSERS), help="all, if none is named")
    chosen = parser.parse_args()
    names = chosen.parser or list(PARSERS)
    found = 0
    for name in names:
        fed, edges, problem = fuzz(name, max(1, chosen.seconds // len(names)), chosen.seed)
        sys.stdout.write(f"{name:<24} {fed:>9} inputs, {edges:>6} edges reached\n{problem}{problem and chr(10)}")
        sys.stdout.flush()
        found += bool(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
