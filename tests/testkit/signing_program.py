"""A program in front of a key that the agent never sees: `python signing_program.py KEY.pem` signs standard input.

Stands for a hardware module's: reads the bytes to their end, writes 64 bytes. Appends to KEY.pem.log how the bytes began.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

SHOWN: Final = 60
"""Bytes of each message that the log keeps."""


def main() -> int:
    """Sign what stands on standard input."""
    path = Path(sys.argv[1])
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        return 3
    message = sys.stdin.buffer.read()
    with path.with_name(path.name + ".log").open("ab") as log:
        log.write(message[:SHOWN].replace(b"\n", b" ") + b"\n")
    sys.stdout.buffer.write(key.sign(message))
    return 0


if __name__ == "__main__":
    sys.exit(main())
