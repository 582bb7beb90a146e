"""Files of what several people sign: a proposal, and beside it each signature."""

from __future__ import annotations

from pathlib import Path

from vdb_coordinator.approvals import parse_proposal
from vdb_coordinator.files import read_file
from vdb_coordinator.orders import Handed
from vdb_shared.canonical import decode_base64
from vdb_shared.errors import FormatError, UsageError


def read_order(file: Path) -> Handed:
    """Return a proposal with the signatures that lie beside it, as `approvals sign` writes them (FILE.NAME.sig).

    Raises:
        UsageError: a file cannot be read, is no proposal, or no signature.
    """
    body = read_proposal(file)
    places = sorted(path for path in file.parent.iterdir() if _may_be_signature(file, path))
    found = {place: read_signature(place) for place in places}
    return Handed(
        body, {name: sign for place, (name, sign) in found.items() if place.name == f"{file.name}.{name}.sig"}
    )


def read_proposal(file: Path) -> bytes:
    """Return the bytes of a proposal.

    Raises:
        UsageError: the file cannot be read, or is no proposal.
    """
    body = read_file(file)
    try:
        parse_proposal(body)
    except FormatError as error:
        raise UsageError(f"{file}: expected a proposal, as `approvals propose` writes it ({error})") from error
    return body


def read_signature(place: Path) -> tuple[str, bytes]:
    """Return whose signature a file has, and the signature.

    Raises:
        UsageError: it has none.
    """
    try:
        name, encoded = read_file(place).decode().split()
        return name, decode_base64(encoded)
    except (ValueError, FormatError) as error:
        raise UsageError(f"{place}: expected a signature, as `approvals sign` writes it") from error


def _may_be_signature(file: Path, path: Path) -> bool:
    """Return whether a file is called like a signature of a proposal; that of a neighbour, FILE.v2, may be too."""
    return path.name.startswith(f"{file.name}.") and path.name.endswith(".sig")
