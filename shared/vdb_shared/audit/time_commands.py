"""Command of `vdb-audit` that asks for a time stamp, and the options that show one; `cli.py` makes them known.

Source: RFC 3161 §3.4; protos/README.md §9.9.
"""

from __future__ import annotations

import time
import urllib.error
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Final

import typer

from vdb_shared.audit.evidence import GivenStamp
from vdb_shared.audit.limited_http import Limit, download
from vdb_shared.audit.reading import console
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES, read_archive
from vdb_shared.bundle.record import RESULT_PROOF, read_proof
from vdb_shared.errors import FormatError, UnreachableError, UsageError
from vdb_shared.named_files import read_file

PATIENCE: Final = 30.0
"""Seconds in which an authority has to answer."""

MAX_ROOTS_BYTES: Final = 2**20

TimeStampFile = Annotated[
    Path | None,
    typer.Option(
        "--time-stamp",
        help="Time stamp that `vdb-audit time-stamp` wrote, or another RFC 3161 answer.",
        show_default=False,
    ),
]
TsaRoots = Annotated[
    Path | None,
    typer.Option(
        "--tsa-roots", help="PEM file with the root certificates whose time stamps you trust.", show_default=False
    ),
]


def given_stamp(stamp: Path | None, roots: Path | None) -> GivenStamp | None:
    """Return the time stamp that was given, with the roots for it, or None.

    Raises:
        UsageError: one is given without the other, or a file cannot be read or holds no certificate.
    """
    if stamp is None or roots is None:
        if stamp is not roots:
            raise UsageError("--time-stamp and --tsa-roots go together: whose time stamps do you trust?")
        return None
    from vdb_shared.transparency.time_stamps import MAX_STAMP_BYTES, read_roots  # noqa: PLC0415 - loads ASN.1, which most audits do without

    trusted = read_file(roots, MAX_ROOTS_BYTES)
    try:
        read_roots(trusted)
    except FormatError as error:
        raise UsageError(f"{roots}: {error}") from error
    return GivenStamp(read_file(stamp, MAX_STAMP_BYTES), trusted)


def time_stamp(
    bundle: Annotated[Path, typer.Argument(help="The result bundle, such as result.vdbb.", show_default=False)],
    tsa: Annotated[
        str,
        typer.Option(help="Authority's URL; it is sent a digest of the log's checkpoint, no more.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="New file of the time stamp, such as result.tsr.", show_default=False)],
) -> None:
    """Ask a time stamp authority (RFC 3161) to attest when the result stood in the log; anybody can, the sooner the better.

    What it answers is not verified here, since only you know whom you trust: verify --time-stamp FILE --tsa-roots PEM.
    """
    from vdb_shared.transparency.time_stamps import ask, check_answer  # noqa: PLC0415 - loads ASN.1, which most audits do without

    checkpoint = _checkpoint_in(bundle)
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out}: is there already; choose another name")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: its folder does not exist; make it first")
    question = ask(checkpoint)
    answer = _answer(tsa, question.data)
    try:
        check_answer(answer, question, checkpoint)
    except (FormatError, UsageError) as error:
        raise UsageError(f"{tsa}: {error}") from error
    try:
        with out.open("xb") as file:
            file.write(answer)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
    console().print(f"{out}: time stamp on the log's checkpoint in {bundle}, not verified yet", soft_wrap=True)
    console().print(f"verify it: vdb-audit verify {bundle} --time-stamp {out} --tsa-roots ROOTS.pem", soft_wrap=True)


def _checkpoint_in(bundle: Path) -> bytes:
    """Return the checkpoint in which the result stands."""
    data = read_file(bundle, MAX_BUNDLE_BYTES)
    try:
        members = read_archive(data)
    except FormatError as error:
        raise FormatError(f"{bundle}: {error}") from error
    if RESULT_PROOF not in members:
        raise UsageError(f"{bundle}: is a draft: only a result that stands in the log can be stamped")
    return read_proof(members, RESULT_PROOF).checkpoint


def _answer(url: str, question: bytes) -> bytes:
    if "@" in url:
        raise UsageError("--tsa: expected an address without user and password, which would not be sent")
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--tsa {url}: expected an address that begins with http:// or https://")
    from vdb_shared.transparency.time_stamps import MAX_STAMP_BYTES, QUERY_TYPE  # noqa: PLC0415 - loads ASN.1, which most audits do without

    end = time.monotonic() + PATIENCE
    limit = Limit(PATIENCE, end, f"no answer was there after {PATIENCE:g} seconds")
    try:
        return download(url, MAX_STAMP_BYTES + 1, limit, (QUERY_TYPE, question))
    except urllib.error.HTTPError as error:
        raise UsageError(
            f"{url}: the server answers {error.code} {error.reason}; is this the address of a time stamp authority?"
        ) from error
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UnreachableError(f"{url}: cannot be reached ({reason}); check the address and the network") from error
