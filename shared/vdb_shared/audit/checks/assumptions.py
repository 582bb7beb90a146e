"""N01 to N04: what no bundle can prove, shown with every audit.

Source: protos/README.md §10.10.
"""

from __future__ import annotations

from typing import Final

from vdb_shared.audit.checks.base import Check, Finding, not_proven
from vdb_shared.audit.evidence import Evidence

_SENTENCES: Final = (
    (
        "N01",
        "Data are real",
        "That the institutions measured real data, and reported it truthfully, rests on their word.",
    ),
    (
        "N02",
        "Noise was added",
        "That the institutions assumed honest added their share of noise rests on their word; the promise of privacy allows "
        "for as many dishonest ones as the spec says, and no more.",
    ),
    (
        "N03",
        "Hardware and software",
        "What the institutions say about their machines, software versions and running times is their own statement.",
    ),
    (
        "N04",
        "No larger conspiracy",
        "That the coordinator did not conspire with more institutions than the spec allows for cannot be seen from outside.",
    ),
)


def _check(number: str, title: str, sentence: str) -> Check:
    def attempt(_evidence: Evidence) -> Finding:
        return not_proven(sentence)

    return Check(number, title, sentence, (), attempt)


CHECKS: Final = tuple(_check(*item) for item in _SENTENCES)
