"""What a plan says of every kind of bytes that leave if this site joins, in the sizes that its journal then shows.

Promises sizes to the byte where they follow from the spec and the roster, and the largest where they depend on who joins. Pure.

Source: protos/README.md §4.2, §4.3, §12.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from vdb_participant.session.plan_rows import block_lines
from vdb_participant.session.terms import Opening
from vdb_shared.metrics.statistic import Layout
from vdb_shared.secagg.messages import UnmaskingShares
from vdb_shared.secagg.parameters import DIGEST_BYTES
from vdb_shared.secagg.sealing import SEALED_BYTES
from vdb_shared.secagg.vectors import vector_bytes
from vdb_shared.tasks import checked_count
from vdb_shared.wording import counted

_NO_SHARES: Final = len(UnmaskingShares(bytes(DIGEST_BYTES), 0, {}, {}).encode())
_EACH_SHARE: Final = len(UnmaskingShares(bytes(DIGEST_BYTES), 0, {0: 0}, {}).encode()) - _NO_SHARES
"""Bytes of the shares that unmask the sum: of the message without any, and of each."""


def leaves(opening: Opening, layout: Layout, endpoints: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines.

    Args:
        opening: the session, verified.
        layout: of its masked vector.
        endpoints: address of each model that runs elsewhere, by its id.
    """
    spec = opening.spec
    checked = checked_count(spec)
    yield (
        f"WHAT LEAVES: one masked vector of {layout.lanes:,} numbers and what checks their sum "
        f"({vector_bytes(layout.lanes):,} bytes), shares of keys, and our signed statements."
    )
    but = ", but of public ones as said below" if checked else ""
    yield (
        f"  No video, prompt, file name, feature or score of a single clip{but}. Masked: only the sum over all institutions "
        "can be read; noised: even that sum hides any single record, as far as PRIVACY below says."
    )
    yield from _shares(opening)
    yield (
        "  Our statements name this institution, the session, digests of weights, software versions, the device, and how many "
        "public clips were made; meanwhile the lead is told which stage we are in, again every two minutes, and that we saw "
        "its public log."
    )
    if checked:
        yield (
            f"  Public clips that two institutions make, to compare: {checked}. Which ones, and where, follows from the spec "
            "and from who joins. Of each that falls to us our statement shows digest, scores, features and four frames of "
            "8x8 pixels, which follow from public prompts and weights; they are published."
        )
    for model, address in endpoints.items():
        yield (
            f"  REQUESTS to {address}, which is not the coordinator: model {model} runs there, and is sent prompt, seed and "
            "size of each of our public clips of it."
        )
    models = counted(len(spec.models), "model")
    yield (
        "  Whoever audits the result sees our statements, commitments to our vector, and the sum of all institutions; the "
        "vector itself, still masked, only if the lead exports the full profile; single records only if this site answers a "
        "spot check (`prove-sample`)."
    )
    yield (
        "  The numbers are sums over our clips. All are masked; those that private records enter are noised "
        f"too. How many, which, and of what (* is each of the {models}):"
    )
    yield from block_lines(spec, layout)


def _shares(opening: Opening) -> Iterator[str]:
    """Yield what leaves of the keys from which masks are made, sealed before the vector and open after it."""
    members = len(opening.roster.participants)
    others = members - 1
    yield (
        "  The masks follow from two keys that we draw for this session alone and that say nothing of our data. Shares of both "
        f"go to each other institution that takes part, through the coordinator, {SEALED_BYTES} bytes each, sealed so that it "
        f"alone can open them: at most {SEALED_BYTES * others:,} bytes for {others}."
    )
    yield (
        "  After the vector, the coordinator gets the shares that unmask the sum, one for each institution that dealt any, not "
        f"sealed: {_NO_SHARES} bytes and {_EACH_SHARE} for each, at most {_NO_SHARES + _EACH_SHARE * members:,}. They open no "
        f"single vector, unless more than {opening.spec.cohort.collusion} of the others collude with the coordinator."
    )
    yield "  If the rounds are restarted, keys and masks are drawn anew, and shares and vector leave again, in these sizes."
