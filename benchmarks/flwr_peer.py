"""Times of Flower's own SecAgg+ functions, run by a Python that has flwr; `secagg.py` makes one and calls this.

    python flwr_peer.py '{"lanes": [1000], "sharings": [[5, 4]]}'

Prints {"version", "drawing": {lanes: seconds}, "masking": {lanes: seconds}, "sharing": {participants: seconds}}, medians:
of drawing one mask, of drawing it and adding it to a vector, of splitting and combining one secret of 32 bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MODULUS: Final = 1 << 32
"""The default range of its masks."""

MASKS: Final = 31
SHARINGS: Final = 3
"""Repetitions."""


def main() -> None:
    """Measure what the argument asks for."""
    asked = json.loads(sys.argv[1])
    _enter_without_start_up()
    parts = "flwr.common.secure_aggregation"
    shamir = importlib.import_module(f"{parts}.crypto.shamir")
    draw = importlib.import_module(f"{parts}.secaggplus_utils").pseudo_rand_gen
    add = importlib.import_module(f"{parts}.ndarrays_arithmetic").parameters_addition
    drawing, masking, sharing = {}, {}, {}
    for lanes in asked["lanes"]:
        drawing[lanes] = _median(partial(_draw, draw, lanes), MASKS)
        masking[lanes] = _median(partial(_mask, draw, add, np.zeros(lanes, dtype=np.int64)), MASKS)
    for participants, threshold in asked["sharings"]:
        sharing[participants] = _median(partial(_share, shamir, participants, threshold), SHARINGS)
    print(json.dumps({"version": version("flwr"), "drawing": drawing, "masking": masking, "sharing": sharing}))


def _draw(draw: Callable[..., list[NDArray[np.int64]]], lanes: int) -> list[NDArray[np.int64]]:
    return draw(os.urandom(32), MODULUS, [(lanes,)])


def _mask(draw: Callable[..., list[NDArray[np.int64]]], add: Callable[..., object], vector: NDArray[np.int64]) -> None:
    add([vector], _draw(draw, vector.size))


def _enter_without_start_up() -> None:
    """Let its modules be found without what its packages import at start-up (gRPC, telemetry): only these two are timed."""
    spec = importlib.util.find_spec("flwr")
    if spec is None or spec.origin is None:
        raise RuntimeError("flwr is not installed")
    root = Path(spec.origin).parent
    for name, folder in (("flwr", root), ("flwr.common", root / "common")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    sys.modules["flwr.common"].__dict__["NDArrayInt"] = object  # the one name that is wanted of it, in an annotation


def _share(shamir: Any, participants: int, threshold: int) -> None:
    secret = os.urandom(32)
    shares = shamir.create_shares(secret, threshold, participants)
    if shamir.combine_shares(shares[:threshold]) != secret:
        raise RuntimeError("the shares do not rebuild the secret")


def _median(call: Callable[[], object], repetitions: int) -> float:
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
