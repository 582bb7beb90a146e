"""Write the test vectors of the secure aggregation protocol, or compare them with those in this folder.

    python tests/vectors/generate.py [--check]

Promises the same bytes on every machine. What the files mean stands in README.md beside this program.
"""

from __future__ import annotations

import argparse
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Final

from basics import generators_file, labels_file, shamir_file
from faults import keys_faults, masking_faults, sharing_faults
from late_faults import body_faults, sum_faults, unmasking_faults
from restarting import restart_file
from stories import advertise_all, mask_all, share_all, statement_keys, unmask
from vdb_shared.secagg.parameters import Parameters, smallest_cohort
from writing import Json, entropy

FOLDER: Final = Path(__file__).parent

FOUR: Final = (0, 2, 3, 6)
"""Seats of the first story; that they are not consecutive shows that x is the seat plus one."""


def main() -> int:
    """Write or compare all files; return 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say which files differ")
    checking = parser.parse_args().check
    differing = 0
    for name, content in files().items():
        text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        path = FOLDER / name
        if not checking:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{name} differs from what {Path(__file__).name} writes\n")
            differing += 1
    return 1 if differing else 0


def files() -> dict[str, Json]:
    """Return the content of each file by name."""
    return {
        "labels.json": labels_file(),
        "shamir.json": shamir_file(),
        "generators.json": generators_file(),
        **four_seats(),
        "two-blocks.json": two_blocks(),
        "restart.json": restart_file(),
    }


def parameters(story: str, seats: tuple[int, ...], lanes: int) -> Parameters:
    """Return sealed parameters with c = 1 and θ = 0.4."""
    return Parameters(
        session=entropy(story, "session", size=32),
        roster={seat: key.public_key for seat, key in statement_keys(story, seats).items()},
        collusion=1,
        smallest_cohort=smallest_cohort(len(seats), 1, Decimal("0.4")),
        lanes=lanes,
    )


def four_seats() -> dict[str, Json]:
    """Return one session of four, round by round, with all that must be refused in each."""
    keys = advertise_all("four seats", parameters("four seats", FOUR, 5))
    sharing = share_all(keys)
    masking = mask_all(sharing)
    dropped, whole = unmask(masking, [0, 2, 6]), unmask(masking, FOUR)
    return {
        "keys-and-transcripts.json": keys.json() | {"bad": keys_faults(keys), "comment": _KEYS},
        "sharing.json": sharing.json() | {"bad": sharing_faults(sharing), "comment": _SHARING},
        "masking.json": masking.json() | {"bad": masking_faults(masking), "comment": _MASKING},
        "consistency-and-unmasking.json": {
            "bad": unmasking_faults(dropped),
            "bad_bodies": body_faults(dropped),
            "bad_sums": sum_faults(dropped),
            "comment": _UNMASKING,
            "sessions": [
                dropped.json() | {"comment": "seat 3 dropped out: its round-2 message never came", "name": "dropout"},
                whole.json() | {"comment": "nobody dropped out; the same bytes up to round 2", "name": "all stay"},
            ],
        },
    }


def two_blocks() -> Json:
    """Return one session of three with more lanes than a block has."""
    story = "two blocks"
    keys = advertise_all(story, parameters(story, (0, 1, 2), 4100))
    sharing = share_all(keys)
    masking = mask_all(sharing)
    return {
        "comment": "4100 lanes: 4096 in the first block, 4 in the second; long vectors by first bytes and SHA-256",
        "keys": keys.json(),
        "masking": masking.json(),
        "sharing": sharing.json(),
        "unmasking": unmask(masking, (0, 1, 2)).json(),
    }


_KEYS: Final = "§4.3 round 0 of seats 0, 2, 3, 6 with c = 1: entropy = mask seed k ‖ channel private key ‖ nonce"
_SHARING: Final = (
    "§4.3 round 1 of the same session: lanes = SHAKE-256(lanes_seed) as little-endian i64, shifted right by 16; "
    "committed.entropy = 64 bytes for each blinder; entropy = self-mask seed b ‖ coefficient seed z; own_pair = shares of k, b"
)
_MASKING: Final = "§4.3 round 2 of the same session"
_UNMASKING: Final = "§4.3 rounds 3 and 4 of the same session, twice: with and without a dropout"

if __name__ == "__main__":
    sys.exit(main())
